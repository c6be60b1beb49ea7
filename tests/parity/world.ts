/**
 * The lab at work: rows go through the rules of one plan, by one backend, and what the kernel did with each comes
 * back.
 *
 * @module
 */
import type { Backend, BackendName } from "../../nft/backend.ts";
import type { Exec } from "../../nft/exec.ts";
import { openBackend } from "../../nft/open_backend.ts";
import type { Plan } from "../../nft/plan.ts";
import { renderRoutes } from "../../nft/render_route.ts";
import { formatEndpoint, parseAddress } from "../../net/mod.ts";
import { labExec } from "../kernel/nft_lab.ts";
import { Lab } from "../lab/mod.ts";
import {
  answeringShots,
  destinationShots,
  type NumberedRow,
  openingShots,
  type Shot,
  takingShots,
  watchedShots,
} from "./bursts.ts";
import { Conversation } from "./lines.ts";
import { LIST_OBSERVER, parseSightings, renderForget, renderObserver, type Sightings } from "./observer.ts";
import { GATEWAY, gatewaySetup, parityTopology, WIRE } from "./places.ts";
import type { SenderCommand } from "./sender_main.ts";
import type { Connection, Listener, SocketsCommand } from "./sockets_main.ts";

/** Rows for one time that they are sent, and which of those that take a flow have to be answered from outside. */
export interface Burst {
  readonly rows: readonly NumberedRow[];
  readonly unansweredIds: ReadonlySet<number>;
}

/** The same table with the proxy up, and after its end. */
export interface Run {
  readonly plan: Plan;
  readonly up: Burst;
  readonly down: Burst;
}

/** Packets are handled by the time they are sent, but for what goes over a queue of another processor. */
const SETTLE_MS = 15;

/** One lab with its programs, for one backend. */
export class ParityWorld implements AsyncDisposable {
  readonly #lab: Lab;
  readonly #exec: Exec;
  readonly #senders: Readonly<Record<Shot["from"], Conversation>>;
  readonly #sockets: Conversation;

  private constructor(
    lab: Lab,
    exec: Exec,
    senders: Readonly<Record<Shot["from"], Conversation>>,
    sockets: Conversation,
  ) {
    this.#lab = lab;
    this.#exec = exec;
    this.#senders = senders;
    this.#sockets = sockets;
  }

  static async start(): Promise<ParityWorld> {
    const lab = await Lab.start(parityTopology());
    try {
      const gateway = lab.host(GATEWAY);
      const [wire, own, sockets] = await Promise.all([
        Conversation.open(lab.host(WIRE).deno(program("sender_main.ts"))),
        Conversation.open(gateway.deno(program("sender_main.ts"))),
        Conversation.open(gateway.deno(program("sockets_main.ts"))),
      ]);
      await gateway.output(["sh", "-e", "-c", gatewaySetup()]);
      await gateway.output(["nft", "-f", "-"], { stdin: renderObserver() });
      // There since conntrack is. The acknowledgements of the table fit no window.
      const liberal = "echo 1 > /proc/sys/net/netfilter/nf_conntrack_tcp_be_liberal";
      await gateway.output(["sh", "-e", "-c", liberal]);
      return new ParityWorld(lab, labExec(gateway), { wire, gateway: own }, sockets);
    } catch (error) {
      await lab.stop();
      throw error;
    }
  }

  /** The backend, acting on the gateway. */
  backend(name: BackendName, plan: Plan): Backend {
    return openBackend(name, {
      exec: this.#exec,
      tableName: plan.intent.tableName,
      hold: "plain",
      by: null,
      sysctls: [],
      afterwards: ":",
      ipv6: true,
    });
  }

  /** Sends `run` through the rules that `backend` makes of its plan. */
  async send(backend: Backend, { plan, up, down }: Run): Promise<ReadonlyMap<number, Sightings>> {
    await this.#forget();
    const all = [...up.rows, ...down.rows];
    await this.#fire("opening", all.flatMap(openingShots));
    await this.#fire("answering", all.flatMap(answeringShots));
    await this.#applyRoutes(plan, "argv");
    await backend.load(plan, "intercept");
    await this.#ask({ do: "listen", listeners: listenersOf(plan) });
    await this.#ask({ do: "connect", connections: up.rows.flatMap(connectionsOf) });
    for (const burst of [up, down]) {
      await this.#fire("taking", burst.rows.filter(isTaken).flatMap(takingShots));
      const unanswered = burst.rows.filter(({ id }) => burst.unansweredIds.has(id));
      await this.#fire("destinations", unanswered.flatMap(destinationShots));
    }
    await this.#settle();
    await this.#fire("up", up.rows.flatMap(watchedShots));
    await this.#settle();
    if (plan.intent.onProxyDown === "open") await this.#remove(backend, plan);
    await this.#ask({ do: "close" });
    await this.#fire("down", down.rows.flatMap(watchedShots));
    await this.#settle();
    const seen = parseSightings(await this.#output(LIST_OBSERVER));
    if (plan.intent.onProxyDown === "closed") await this.#remove(backend, plan);
    return seen;
  }

  async #remove(backend: Backend, plan: Plan): Promise<void> {
    const complaint = await backend.remove();
    if (complaint !== undefined) throw new Error(`${backend.name}: remove: ${complaint}`);
    await this.#applyRoutes(plan, "undo");
  }

  async #forget(): Promise<void> {
    await this.#ask({ do: "close" });
    await this.#output(["sh", "-e", "-c", "nft -f - && conntrack -F 2>/dev/null"], renderForget());
  }

  async #applyRoutes(plan: Plan, way: "argv" | "undo"): Promise<void> {
    const commands = renderRoutes(plan).map((command) => command[way].join(" "));
    const sysctls = plan.sysctls.map(({ key, value }) =>
      `echo ${way === "argv" ? value : "0"} > /proc/sys/${key}`
    );
    const script = [...commands, ...sysctls].join("\n");
    if (script !== "") await this.#output(["sh", "-e"], script);
  }

  async #fire(batch: string, shots: readonly Shot[]): Promise<void> {
    for (const from of ["wire", "gateway"] as const) {
      const packets = shots.filter((shot) => shot.from === from).map(({ packet }) => packet);
      if (packets.length === 0) continue;
      const ask = (command: SenderCommand) => this.#senders[from].ask(command);
      await ask({ do: "load", batch, packets });
      await ask({ do: "send", batch });
    }
  }

  #ask(command: SocketsCommand): Promise<number> {
    return this.#sockets.ask(command);
  }

  #settle(): Promise<void> {
    return new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
  }

  async #output(argv: readonly string[], stdin?: string): Promise<string> {
    const { code, stdout, stderr } = await this.#exec.run(argv, stdin === undefined ? {} : { stdin });
    if (code !== 0) throw new Error(`${argv.join(" ")}: exit ${code}: ${stderr}`);
    return stdout;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#lab.stop();
  }
}

/**
 * What a proxy with that plan listens on. The observer knows each by its mark, whose lower half is the port; but those
 * on the first port have none, as the real ones: a rule of iptables gives a socket's mark to its packets, and what TCP
 * accepts inherits it.
 */
export function listenersOf({ intent }: Plan): Listener[] {
  const { port, sidecar, marks, udpWorkers, source } = intent;
  const listener = (protocol: "tcp" | "udp", number: number, mark = 0): Listener => ({
    protocol,
    port: number,
    mark: number === port ? mark : mark | number,
  });
  const listeners = [listener("tcp", port)];
  if (intent.udp === "tproxy") {
    for (let worker = 0; worker < udpWorkers; worker++) listeners.push(listener("udp", port + worker));
  }
  if (sidecar === null) return listeners;
  listeners.push(listener("tcp", sidecar.inboundPort, source === "keep" ? marks.reply : 0));
  if (sidecar.dns !== null) {
    listeners.push(listener("tcp", sidecar.dns.port), listener("udp", sidecar.dns.port));
  }
  return listeners;
}

function isTaken({ row }: NumberedRow): boolean {
  return row.history === "taken" || row.history === "handshake";
}

function connectionsOf({ row, id }: NumberedRow): Connection[] {
  if (row.socket === undefined) return [];
  return [{
    protocol: row.segment === "udp" || row.segment === "unreachable" ? "udp" : "tcp",
    local: formatEndpoint({ address: parseAddress(row.destination)!, port: row.port }),
    remote: formatEndpoint({ address: parseAddress(row.source)!, port: id }),
    ...row.socket,
  }];
}

function program(file: string): string {
  return new URL(file, import.meta.url).pathname;
}
