/**
 * `explain`: which rule decides about a packet, and why; where its flow goes; with --live, what the kernel has to say.
 *
 * @module
 */
import { ConfigError, type RunConfig } from "../config/mod.ts";
import { listInterfaces } from "../control/interfaces.ts";
import { planFor, StartError } from "../control/mod.ts";
import { ourselves } from "../demo/ourselves.ts";
import { evaluate } from "../nft/evaluate.ts";
import type { Evaluation } from "../nft/evaluation.ts";
import { explain as putIntoWords, renderExplanation } from "../nft/explain.ts";
import { type BackendName, chooseBackend, detectHost, HostExec, type Plan } from "../nft/mod.ts";
import type { Packet, PacketHost } from "../nft/packet.ts";
import { readPacketHost } from "../nft/packet_host.ts";
import { type Comparison, ScratchError, tryLive } from "../scratch/mod.ts";
import { EXIT, type ExitCode } from "./command.ts";
import { readConfigFile } from "./configured.ts";
import { describedPacket, type ExplainValues } from "./explain_flags.ts";
import { explainRouting, renderRouting } from "./explain_routing.ts";
import { interceptionConfig } from "./interception_flags.ts";

/** The command by which the program in the scratch namespace is started. */
const SENDER = ["explain", "sender"] as const;

/** Says what becomes of a packet. Fails when the kernel does something else. */
export async function explain(values: ExplainValues, operands: readonly string[]): Promise<ExitCode> {
  const packet = describedPacket(operands, values);
  const config = interceptionConfig(values);
  const plan = await planFor(config);
  requireInterface(config, packet.way.interface, packet.way.kind === "arriving" ? "--in" : "--out");
  const host = await readPacketHost(new HostExec(), values.proxy);
  requireForeignSource(packet, host);
  const evaluation = evaluate(plan, packet, host);
  const explanation = putIntoWords(plan, packet, host, evaluation);
  const { config: file, dscp } = values;
  const placeOf = async (key: string) =>
    file === undefined ? undefined : (await readConfigFile(file)).text.placeOf(key);
  const routing = await explainRouting({ config, packet, dscp, evaluation, placeOf });
  if (!values.json) {
    console.log(renderExplanation(explanation));
    if (routing !== undefined) console.log(`\n${renderRouting(routing).join("\n")}`);
  }
  const live = values.live ? await proven(values, plan, packet, host, evaluation) : undefined;
  if (values.json) {
    const parts = { ...(routing === undefined ? {} : { routing }), ...(live === undefined ? {} : { live }) };
    console.log(JSON.stringify({ ...explanation, ...parts }, null, 2));
  } else if (live !== undefined) console.log(`\n${live.text.join("\n")}.`);
  return live?.agrees === false ? EXIT.failure : EXIT.ok;
}

/** Whoever mistypes a name would be told that the packet passes. What the flags name may be yet to come. */
function requireInterface(config: RunConfig, name: string, path: "--in" | "--out"): void {
  const existing = listInterfaces();
  const { from, excludeFrom, select: { outgoing }, sidecar } = config;
  const named = [
    ...from,
    ...excludeFrom,
    ...outgoing.include,
    ...outgoing.exclude,
    ...sidecar?.excludeInterfaces ?? [],
    ...sidecar?.virtualInterfaces ?? [],
  ];
  if (existing.includes(name) || named.includes(name)) return;
  throw new ConfigError([{
    path,
    found: name,
    wanted: `an interface of this network namespace (it has ${
      existing.join(", ")
    }), or one that the flags name`,
  }]);
}

/** Between our first rules and our last the kernel would drop it, so no rule decides what becomes of it. */
function requireForeignSource({ family, source, way }: Packet, { addresses }: PacketHost): void {
  if (way.kind !== "arriving" || way.interface === "lo" || family === 6) return;
  if (!source.startsWith("127.") && !addresses.some((text) => text.split("/")[0] === source)) return;
  throw new ConfigError([{
    path: "SRC, --in",
    found: `${source}, an address of this host, and ${way.interface}`,
    wanted: "another host's address, or --out for what this host sends",
    hint:
      "the kernel drops what comes in under one of its own addresses (a martian source), whatever the rules say",
  }]);
}

/** The program in the scratch namespace. `explain --live` alone starts it. */
export async function explainSender(): Promise<ExitCode> {
  await (await import("../scratch/sender.ts")).runSender();
  return EXIT.ok;
}

async function proven(
  values: ExplainValues,
  plan: Plan,
  packet: Packet,
  host: PacketHost,
  predicted: Evaluation,
): Promise<Comparison> {
  const backend = await backendFor(values, plan);
  try {
    return await tryLive({ plan, packet, host, predicted, backend, sender: ourselves(...SENDER) });
  } catch (error) {
    if (!(error instanceof ScratchError)) throw error;
    const hint =
      "without --live nothing but this program is asked; unshare, nsenter and ip are needed for it";
    throw new StartError("rules-failed", `--live: ${error.message}`, hint, { cause: error });
  }
}

async function backendFor({ rules }: ExplainValues, plan: Plan): Promise<BackendName> {
  if (rules !== "auto") return rules;
  const exec = new HostExec();
  return (await chooseBackend(plan, await detectHost(exec), exec)).backend;
}
