/**
 * Verdicts → iptables targets.
 *
 * - To leave a packet alone is RETURN, never ACCEPT: other programs' rules in the same table still have to see it.
 * - MARK, CONNMARK and CT do not end a packet's way through a chain. Where the plan says that they decide, the packet
 *   is sent by `-g` to a chain that does it and ends: it then goes on after our jump, whatever chain it came from.
 *
 * @module
 */
import type { IpFamily } from "../net/address.ts";
import type { Marks } from "./intent.ts";
import { formatBytecode, spreadProgram } from "./iptables_bpf.ts";
import { hex } from "./iptables_matches.ts";
import type { RestoreChain } from "./iptables_restore.ts";
import type { Verdict } from "./plan.ts";

/** What a verdict is rendered for. */
export interface VerdictContext {
  readonly family: IpFamily;
  readonly marks: Marks;
  readonly tableName: string;
  /** The rule's matches have written to the packet's mark, and a verdict that is not about it wipes it. */
  readonly isMarked: boolean;
}

/** What stands at the end of a rule. */
export interface Target {
  /** The ends of the rules that are needed, in order; the first one whose matches hold decides. */
  readonly ends: readonly string[];
  /** A chain that they send packets to and that has to be there. */
  readonly chain?: RestoreChain;
}

/** The `-p` that the target cannot do without. */
export function protocolsOf(verdict: Verdict): readonly ("tcp" | "udp")[] | undefined {
  switch (verdict.kind) {
    case "tproxy":
    case "redirect":
      return ["tcp", "udp"];
    case "tproxyDatagram":
      return ["udp"];
    default:
      return undefined;
  }
}

/** The target for `verdict`; no ends where it has nothing to say of that family. */
export function renderVerdict(verdict: Verdict, context: VerdictContext): Target {
  const { marks, tableName } = context;
  switch (verdict.kind) {
    case "pass":
      return { ends: ["-j RETURN"] };
    case "drop":
      return { ends: ["-j DROP"] };
    case "redirect":
      return { ends: [`-j REDIRECT --to-ports ${verdict.port}`] };
    case "goto":
      return { ends: [`-g ${chainName(tableName, verdict.chain)}`] };
    case "spread":
      return { ends: spreadEnds(verdict, context) };
    case "tproxy": {
      const words = tproxyWords(verdict.port, marks.intercept, marks.mask);
      if (!verdict.remember) return { ends: [words] };
      return through(context, `TPROXY_${verdict.port}`, "To our listener, its flow marked.", [
        flowMark(marks, marks.intercept),
        ...(["tcp", "udp"] as const).map((protocol) =>
          ownRule("tproxy", `${protocol} to the listener`, words, protocol)
        ),
      ]);
    }
    case "tproxyDatagram": {
      const isWhole = verdict.whole === context.family;
      const bits = isWhole ? marks.intercept | marks.dontFragment : marks.intercept;
      const words = tproxyWords(verdict.port, bits, marks.mask | marks.dontFragment);
      // A packet that TPROXY drops leaves no flow behind, so the flow may be marked before.
      return through(
        context,
        `${isWhole ? "WHOLE" : "UDP"}_${verdict.port}`,
        "To our listener, its flow marked.",
        [
          flowMark(marks, marks.intercept),
          ownRule("tproxy", "to the listener", words, "udp"),
        ],
      );
    }
    case "intercept":
      return interceptTarget(verdict, context);
    case "zone": {
      const name = `ZONE_${verdict.zone}${context.isMarked ? "_0" : ""}`;
      return through(context, name, "Tracks apart.", [
        ...(context.isMarked
          ? [ownRule("mark", "the match put it there", setMark("MARK", 0, marks.mask))]
          : []),
        ownRule("zone", "tracked apart", `-j CT --zone ${verdict.zone}`),
      ]);
    }
    case "untrack":
      return through(context, "UNTRACK", "Keeps from connection tracking.", [
        ownRule("untrack", "not tracked", "-j CT --notrack"),
      ]);
  }
}

/** The name of a plan's chain in iptables. */
export function chainName(tableName: string, name: string): string {
  return `${tableName}_${name}`;
}

/** A rule without its chain; `why` is one that restoreWord need not look at twice. */
function ownRule(id: string, why: string, target: string, protocol?: string): string {
  return `${protocol === undefined ? "" : `-p ${protocol} `}-m comment --comment "${id}: ${why}" ${target}`;
}

function through(
  { tableName }: VerdictContext,
  name: string,
  why: string,
  rules: readonly string[],
): Target {
  // Upper case, so that no chain of a plan has this name.
  const chain = { name: chainName(tableName, name), why, rules };
  return { ends: [`-g ${chain.name}`], chain };
}

function interceptTarget(
  { remember, fromHere }: Verdict & { kind: "intercept" },
  context: VerdictContext,
): Target {
  const { marks } = context;
  const [bits, mask] = fromHere
    ? [marks.intercept | marks.fromHere, marks.mask | marks.fromHere]
    : [marks.intercept, marks.mask];
  return through(
    context,
    `TAKE${remember ? "_FLOW" : ""}${fromHere ? "_HERE" : ""}`,
    `Routes to our listener${remember ? ", its flow marked" : ""}.`,
    [
      ...(remember ? [flowMark(marks, marks.intercept)] : []),
      ownRule("mark", "routed to our listener", setMark("MARK", bits, mask)),
    ],
  );
}

function flowMark({ mask }: Marks, value: number): string {
  return ownRule("flow", "later packets are known by it", setMark("CONNMARK", value, mask));
}

/** Other programs' bits stay as they are. */
function setMark(target: "MARK" | "CONNMARK", value: number, mask: number): string {
  return `-j ${target} --set-xmark ${hex(value)}/${hex(mask)}`;
}

/** Without --on-ip the listener is looked up by the address of the incoming interface, which finds wildcard ones. */
function tproxyWords(port: number, value: number, mask: number): string {
  return `-j TPROXY --on-port ${port} --tproxy-mark ${hex(value)}/${hex(mask)}`;
}

/** The last chain takes what no program matched, so that a packet which none can read is not left over. */
function spreadEnds(verdict: Verdict & { kind: "spread" }, { family, tableName }: VerdictContext): string[] {
  if (verdict.family !== family) return [];
  const { length } = verdict.chains;
  return verdict.chains.map((chain, i) => {
    const end = `-g ${chainName(tableName, chain)}`;
    return i === length - 1
      ? end
      : `-m bpf --bytecode "${formatBytecode(spreadProgram(family, i, length))}" ${end}`;
  });
}
