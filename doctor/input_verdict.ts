/**
 * What an input chain of somebody else does with an intercepted flow's first packet.
 *
 * @module
 */
import type { FirewallChain, FirewallTable } from "./firewall.ts";
import { type ArrivingPacket, readRuleFor } from "./rule_terms.ts";

/** `unsure`: dropped, unless a rule lets it in whose conditions cannot be judged without knowing the client. */
export type InputVerdict = "accepted" | "dropped" | "unsure";

/** Longer ways are loops, which the kernel refuses. */
const DEEPEST = 16;

type Outcome = { readonly end: InputVerdict | "undecided"; readonly mayAccept: boolean };

/** What becomes of `packet` in a base chain of `table`. */
export function inputVerdict(
  table: FirewallTable,
  chain: FirewallChain,
  packet: ArrivingPacket,
): InputVerdict {
  const { end, mayAccept } = walk(table, chain, packet, 0);
  if (end !== "undecided") return end;
  if (chain.base?.drops !== true) return "accepted";
  return mayAccept ? "unsure" : "dropped";
}

function walk(table: FirewallTable, chain: FirewallChain, packet: ArrivingPacket, depth: number): Outcome {
  let mayAccept = false;
  for (const { text } of chain.rules) {
    const { holds, verdict } = readRuleFor(packet, table.tool, text);
    if (holds === "no" || verdict.kind === "none") continue;
    if (verdict.kind === "jump" || verdict.kind === "goto") {
      const next = table.chains.find(({ name }) => name === verdict.chain);
      if (next === undefined || depth === DEEPEST) continue;
      const inner = walk(table, next, packet, depth + 1);
      if (holds === "unknown") {
        mayAccept ||= inner.mayAccept || inner.end === "accepted";
        continue;
      }
      mayAccept ||= inner.mayAccept;
      if (inner.end === "dropped" && mayAccept) return { end: "unsure", mayAccept };
      if (inner.end !== "undecided" || verdict.kind === "goto") return { end: inner.end, mayAccept };
    } else if (holds === "unknown") {
      mayAccept ||= verdict.kind === "accept";
    } else if (verdict.kind === "return") {
      break;
    } else if (verdict.kind === "accept") {
      return { end: "accepted", mayAccept };
    } else {
      return { end: mayAccept ? "unsure" : "dropped", mayAccept };
    }
  }
  return { end: "undecided", mayAccept };
}
