/**
 * Sends a packet through a plan's rules in a scratch namespace, and tells what the kernel did with it.
 *
 * Nothing of this machine is touched: interfaces, addresses, rules, routes and settings are those of a namespace
 * that was made for this, and goes with it.
 *
 * @module
 */
import type { Evaluation, RuleName } from "../nft/evaluation.ts";
import {
  type BackendName,
  type Exec,
  type ExecSession,
  isRuleApplyError,
  openBackend,
  type Plan,
} from "../nft/mod.ts";
import type { Packet, PacketHost } from "../nft/packet.ts";
import { renderRoutes } from "../nft/render_route.ts";
import { applySysctls } from "../nft/sysctls.ts";
import { compare, type Comparison } from "./compare.ts";
import { headersOf, opening, unsendable } from "./flow_packets.ts";
import { encodeFrame, encodePacket, type Headers } from "./frame.ts";
import {
  fateBetween,
  fateCommand,
  type FateCounts,
  type GuardCommand,
  guardCommand,
  labelCommand,
  readFateCounts,
} from "./guard.ts";
import { ScratchError, ScratchNamespace } from "./namespace.ts";
import type { Order } from "./order.ts";
import { type Link, type Stage, stageFor } from "./stage.ts";
import { readTrace } from "./trace.ts";

/** What is to be proven. */
export interface LiveRequest {
  readonly plan: Plan;
  readonly packet: Packet;
  readonly host: PacketHost;
  readonly predicted: Evaluation;
  readonly backend: BackendName;
  /** The command that runs sender.ts. */
  readonly sender: readonly string[];
}

/** A monitor says nothing when it has begun to listen, and a dropped packet leaves no sign: then time has to do. */
const MONITOR_START_MS = 300;
const SETTLE_MS = 300;
const SENDER_START_MS = 20_000;

/**
 * Sends the packet and holds what the kernel did against what was predicted.
 *
 * @throws {ScratchError} when it cannot be tried here.
 */
export async function tryLive(request: LiveRequest): Promise<Comparison> {
  const reason = unsendable(request.packet) ?? unloadable(request.plan);
  if (reason !== undefined) throw new ScratchError(reason);
  await using namespace = await ScratchNamespace.open();
  const stage = stageFor(request.packet, request.host);
  await namespace.setUp(stage.script);
  const sender = namespace.exec.open(request.sender);
  try {
    return await new Trial(request, namespace.exec, stage, sender).run();
  } finally {
    await sender.close();
  }
}

/** Its path is looked up when the rule is made, and the cgroups here are the machine's. */
function unloadable({ chains }: Plan): string | undefined {
  const asks = chains.some(({ rules }) =>
    rules.some(({ matches }) => matches.some(({ kind }) => kind === "cgroup"))
  );
  return asks ? "rules that ask for a cgroup are not tried here, where no packet would be in it" : undefined;
}

class Trial {
  readonly #request: LiveRequest;
  readonly #exec: Exec;
  readonly #stage: Stage;
  readonly #sender: ExecSession;

  constructor(request: LiveRequest, exec: Exec, stage: Stage, sender: ExecSession) {
    this.#request = request;
    this.#exec = exec;
    this.#stage = stage;
    this.#sender = sender;
  }

  async run(): Promise<Comparison> {
    const { plan, packet, predicted, backend } = this.#request;
    const earlier = opening(packet);
    await this.#put(guardCommand(packet, backend, earlier.length > 0));
    for (const { direction, headers } of earlier) {
      if (direction === "forth") await this.#sendPacket(headers);
      else await this.#sendFrame(headers, this.#stage.out);
    }
    const counters = await this.#load();
    await this.#put(labelCommand(packet, backend));
    const before = await this.#readFate();
    const traced = await this.#watch(async () => {
      await this.#sendPacket(headersOf(packet));
      await sleep(SETTLE_MS);
    });
    const fate = fateBetween(before, await this.#readFate());
    return compare(plan, predicted, { backend, rules: inOrder(await counters(), traced), fate });
  }

  /** @returns what reads the rules that have been met. */
  async #load(): Promise<() => Promise<RuleName[]>> {
    const { plan, host, backend: name } = this.#request;
    // Without a proxy its rules have gone with it.
    const isGone = host.proxy === "down" && plan.intent.onProxyDown === "open";
    if (isGone || plan.chains.length === 0) return () => Promise.resolve([]);
    for (const { argv } of renderRoutes(plan)) await this.#run(argv);
    await applySysctls(plan.sysctls, this.#exec);
    const backend = openBackend(name, {
      exec: this.#exec,
      tableName: plan.intent.tableName,
      hold: "plain",
      by: null,
      sysctls: [],
      afterwards: "",
      ipv6: true,
    });
    const issues = backend.unsupported(plan);
    if (issues.length > 0) throw new ScratchError(issues.map(({ message }) => message).join("; "));
    try {
      await backend.load(plan, "intercept");
    } catch (error) {
      if (!isRuleApplyError(error)) throw error;
      // Without root there are no other users in a namespace, and iptables refuses rules about users who are not.
      throw new ScratchError(`the rules cannot be loaded in a scratch namespace: ${error.message}`, {
        cause: error,
      });
    }
    if (host.proxy === "up") await this.#order({ do: "listen", ports: portsOf(plan) });
    return async () => (await backend.counters(plan)).filter(({ packets }) => packets > 0);
  }

  /** What the tool's monitor says of the plan's rules while `work` is done; nothing where it has none. */
  async #watch(work: () => Promise<void>): Promise<RuleName[]> {
    const { plan, backend } = this.#request;
    if (backend === "iptables-legacy") {
      await work();
      return [];
    }
    const lines: string[] = [];
    const argv = backend === "nft" ? ["nft", "monitor", "trace"] : ["xtables-monitor", "--trace"];
    const monitor = this.#exec.watch(argv, (line) => lines.push(line));
    await sleep(MONITOR_START_MS);
    try {
      await work();
    } finally {
      await monitor.close();
    }
    return readTrace(lines, plan);
  }

  async #sendPacket(headers: Headers): Promise<void> {
    const { way, mark } = this.#request.packet;
    if (way.kind === "arriving") return await this.#sendFrame(headers, this.#stage.in, way.mac);
    const { uid = 0, gid = 0 } = way.owner ?? {};
    const { destination } = headers;
    await this.#order({ do: "send", bytes: encodePacket(headers).toHex(), destination, mark, uid, gid });
  }

  async #sendFrame(headers: Headers, link: Link, from = ""): Promise<void> {
    const bytes = encodeFrame(headers, from === "" ? link.farMac : from, link.mac).toHex();
    await this.#order({ do: "frame", interfaceIndex: link.farIndex, bytes });
  }

  async #order(order: Order): Promise<void> {
    const reply = await this.#sender.exchange(
      JSON.stringify(order),
      ({ stdout }) => stdout.endsWith("\n"),
      SENDER_START_MS,
    );
    const said = reply.stdout.trim();
    if (said !== "done") throw new ScratchError(`the packet was not sent: ${said || reply.stderr.trim()}`);
  }

  async #readFate(): Promise<FateCounts> {
    const { packet, backend } = this.#request;
    return readFateCounts(await this.#run(fateCommand(packet, backend)));
  }

  async #put({ argv, stdin }: GuardCommand): Promise<void> {
    await this.#run(argv, stdin);
  }

  async #run(argv: readonly string[], stdin?: string): Promise<string> {
    const { code, stdout, stderr } = await this.#exec.run(argv, stdin === undefined ? {} : { stdin });
    if (code !== 0) throw new ScratchError(`${argv.join(" ")}: ${stderr.trim()}`);
    return stdout;
  }
}

/** Every rule that has counted the packet: those of which the trace tells when, then the others. */
function inOrder(counted: readonly RuleName[], traced: readonly RuleName[]): RuleName[] {
  const rules = [...traced, ...counted].map(({ chain, rule }) => ({ chain, rule }));
  return rules.filter((rule, i) =>
    rules.findIndex((other) => other.chain === rule.chain && other.rule === rule.rule) === i
  );
}

function portsOf({ chains }: Plan): number[] {
  const ports = chains.flatMap(({ rules }) =>
    rules.flatMap(({ verdict }) => "port" in verdict ? [verdict.port] : [])
  );
  return [...new Set(ports)];
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
