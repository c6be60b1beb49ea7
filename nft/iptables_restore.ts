/**
 * The text for `iptables-restore --noflush` that turns what is there of ours into what is wanted.
 *
 * One table is one transaction: its new chains, its jumps and the end of its old chains come into force at once. Two
 * tables, and IPv4 and IPv6, are not; so the order matters while a plan is replaced by one that uses other tables:
 *
 * 1. Tables that take traffic (mangle, nat) and are no longer needed: new flows pass by until the new rules take them.
 * 2. raw and filter, which take nothing: zones and drops are there before the first packet that needs them.
 * 3. mangle, then nat: the switch.
 * 4. raw and filter where they are no longer needed.
 *
 * So no packet is ever taken by rules whose other half is missing. Routes are there before all of it (apply.ts).
 *
 * @module
 */

/** Where rules can stand. */
export type TableName = "raw" | "mangle" | "nat" | "filter";

/** The part of a table that is ours. */
export interface RestoreTable {
  readonly table: TableName;
  readonly chains: readonly RestoreChain[];
  /** From the tables' own chains into ours, in the order in which packets are to meet them. */
  readonly jumps: readonly RestoreJump[];
}

/** One of our chains. */
export interface RestoreChain {
  readonly name: string;
  readonly why?: string;
  /** What follows `-A NAME`. */
  readonly rules: readonly string[];
  /** Somebody else's rule leads here, so the chain cannot go. */
  readonly isReferred?: boolean;
}

/** A rule of a built-in chain that leads into one of ours. */
export interface RestoreJump {
  /** As iptables calls it: `PREROUTING`. */
  readonly builtin: string;
  /** What follows `-A BUILTIN`. */
  readonly rule: string;
}

/** The whole input; empty when there is nothing to do. */
export function renderRestore(current: readonly RestoreTable[], wanted: readonly RestoreTable[]): string {
  const names: readonly TableName[] = ["raw", "filter", "mangle", "nat"];
  const isWanted = (name: TableName) => wanted.some(({ table }) => table === name);
  const order = [
    ...(["nat", "mangle"] as const).filter((name) => !isWanted(name)),
    ...names.filter(isWanted),
    ...(["filter", "raw"] as const).filter((name) => !isWanted(name)),
  ];
  return order.map((name) => {
    const of = (tables: readonly RestoreTable[]) => tables.find(({ table }) => table === name);
    return renderTable(name, of(current), of(wanted));
  }).join("");
}

function renderTable(
  name: TableName,
  current: RestoreTable | undefined,
  wanted: RestoreTable | undefined,
): string {
  if (current === undefined && wanted === undefined) return "";
  const chains = wanted?.chains ?? [];
  const old = (current?.chains ?? []).filter((chain) => !chains.some((other) => other.name === chain.name));
  const lines = [
    `*${name}`,
    // A chain that is there is emptied by this.
    ...chains.map((chain) => `:${chain.name} - [0:0]`),
    ...(current?.jumps ?? []).map(({ builtin, rule }) => `-D ${builtin} ${rule}`),
    // Each is put before the last one.
    ...(wanted?.jumps ?? []).toReversed().map(({ builtin, rule }) => `-I ${builtin} 1 ${rule}`),
    ...chains.flatMap((chain) => [
      ...(chain.why === undefined ? [] : [`# ${chain.name}: ${chain.why}`]),
      ...chain.rules.map((rule) => `-A ${chain.name} ${rule}`),
    ]),
    ...old.map((chain) => `-F ${chain.name}`),
    ...old.filter((chain) => chain.isReferred !== true).map((chain) => `-X ${chain.name}`),
    "COMMIT",
  ];
  return lines.join("\n") + "\n";
}
