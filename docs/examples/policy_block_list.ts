/**
 * A block list with exceptions, by the longest prefix: what the ordered rules of a configuration would need sorting for.
 *
 *     BLOCK_LIST=/etc/block_list.txt pellucid run --from eth1 --policy policy_block_list.ts
 *
 * The list has a prefix or an address a line, and `!` before those that are exceptions; see block_list.txt. It is read
 * when the module is, so touching the module (its text has to change) and `pellucid reload` read it again.
 *
 * @module
 */
import { parseAddressBytes, parsePrefix, type PolicyFunction } from "../../mod.ts";

/** Of one prefix length: whether what begins with these bits is blocked. */
type Level = Map<string, boolean>;

const LEVELS: Readonly<Record<4 | 6, [length: number, level: Level][]>> = readList(
  Deno.readTextFileSync(Deno.env.get("BLOCK_LIST") ?? new URL("block_list.txt", import.meta.url)),
);

const decide: PolicyFunction = ({ destination }) => {
  const { bytes } = destination;
  for (const [length, level] of LEVELS[destination.family]) {
    const isBlocked = level.get(bitsOf(bytes, length));
    if (isBlocked !== undefined) return isBlocked ? { block: "icmp" } : undefined;
  }
  return undefined;
};
export default decide;

/** Of each family, the lengths that there are, the longest first. */
function readList(text: string): Record<4 | 6, [number, Level][]> {
  const levels = { 4: new Map<number, Level>(), 6: new Map<number, Level>() };
  for (const [i, line] of text.split("\n").entries()) {
    const [, not, prefix] = /^\s*(!?)\s*([^#\s]*)/.exec(line)!;
    if (prefix === "") continue;
    const parsed = parsePrefix(prefix!);
    if (parsed === undefined) {
      throw new SyntaxError(`block list, line ${i + 1}: ${prefix} found, a prefix wanted`);
    }
    const { family, length } = parsed;
    const level = levels[family].get(length) ?? new Map();
    levels[family].set(
      length,
      level.set(bitsOf(parseAddressBytes(parsed.text.split("/")[0]!)!, length), not === ""),
    );
  }
  const longestFirst = (all: Map<number, Level>) => [...all].sort(([a], [b]) => b - a);
  return { 4: longestFirst(levels[4]), 6: longestFirst(levels[6]) };
}

/** The first bits of an address, as text that no other bits have. */
function bitsOf(bytes: Uint8Array, length: number): string {
  const whole = length >> 3, rest = length & 7;
  let text = String.fromCharCode(...bytes.subarray(0, whole));
  if (rest > 0) text += String.fromCharCode(bytes[whole]! & 0xff00 >> rest);
  return text;
}
