/**
 * Watches packets on their way through the kernel: an nft table around the rules under test notes, at the beginning
 * and at the end of every hook, which packets come by and what has become of them; what has only come is lost there. All of it is read at once.
 *
 * It knows the table's packets by their TTL, which nothing else in the lab has, and each by protocol and source port
 * (of ICMP the checksum). What the host itself answers is lost at output, so that no answer meets the rules; but
 * its SYN+ACK goes on, since conntrack has to see it.
 *
 * @module
 */
import { FOREIGN_MARKS } from "./row.ts";

/** TTL of the packets that are watched. */
export const WATCHED_TTL = 77;
/** TTL of those that only prepare for them. */
export const UNWATCHED_TTL = 99;

const TABLE = "parity_observer";

/** Where a packet was last seen of a hook, and what it was like. */
export interface Sighting {
  readonly mark: number;
  readonly destinationPort: number;
}

/** What conntrack had of its flow. */
export interface FlowSighting {
  readonly mark: number;
  readonly zone: number;
}

/** What became of one packet. */
export interface Sightings {
  /** Hooks that it came to and did not leave. */
  readonly lostAt: ReadonlySet<WatchedHook>;
  /** Hooks that it left, and how. */
  readonly left: ReadonlyMap<WatchedHook, readonly Sighting[]>;
  /** SO_MARK of the sockets that it was about to be given to at input. */
  readonly socketMarks: readonly number[];
  /** At input: it belongs to a transparent socket; to a listener; its destination is this host, or many. */
  readonly transparent: boolean;
  readonly wildcard: boolean;
  readonly here: boolean;
  /** Of its flow, where it is tracked. */
  readonly flows: ReadonlyMap<WatchedHook, FlowSighting>;
  readonly untracked: boolean;
  /** Conntrack rewrites its flow's destination. */
  readonly rewritten: boolean;
}

export type WatchedHook = "prerouting" | "input" | "output" | "postrouting";

const HOOKS: readonly WatchedHook[] = ["prerouting", "input", "output", "postrouting"];

const KEY = "th sport";
const SETS: Readonly<Record<string, string>> = {
  ...Object.fromEntries(HOOKS.map((hook) => [`${hook}_lost`, KEY])),
  ...Object.fromEntries(HOOKS.map((hook) => [`${hook}_left`, `${KEY} . meta mark . th dport`])),
  socket_mark: `${KEY} . meta mark`,
  socket_transparent: KEY,
  socket_wildcard: KEY,
  here: KEY,
  rewritten: KEY,
  untracked: KEY,
  ...Object.fromEntries(HOOKS.map((hook) => [`${hook}_flow`, `${KEY} . ct mark . ct zone`])),
};

/** One transaction that puts the observer in place, empty. */
export function renderObserver(): string {
  const sets = Object.entries(SETS).map(([name, type]) =>
    `set ${name} { typeof ${type}; flags dynamic; size 65535; }`
  );
  const marks = FOREIGN_MARKS.flatMap((mark, dscp) =>
    mark === 0 ? [] : ["ip", "ip6"].map((ip) => `${ip} dscp ${dscp} meta mark set ${mark}`)
  );
  const chains = HOOKS.flatMap((hook) => [
    chain(`${hook}_first`, hook, -450, [
      ...(hook === "output" ? [`jump answers`] : []),
      ...watched((id) => `add @${hook}_lost { ${id} }`),
      ...(hook === "prerouting" ? marks.map((rule) => `iifname != "lo" ${rule}`) : []),
    ]),
    chain(`${hook}_last`, hook, 400, [
      ...watched((id) => `delete @${hook}_lost { ${id} }`),
      ...watched((id) => `add @${hook}_left { ${id} . meta mark . th dport }`),
      ...watched((id) => `add @${hook}_flow { ${id} . ct mark . ct zone }`),
      ...watched((id) => `ct state untracked add @untracked { ${id} }`),
      ...watched((id) => `ct status dnat add @rewritten { ${id} }`),
      ...(hook === "input" ? atInput() : []),
    ]),
  ]);
  return [
    `table inet ${TABLE}`,
    `delete table inet ${TABLE}`,
    `table inet ${TABLE} {`,
    ...sets,
    `chain answers { ip ttl { ${TTLS} } return; ip6 hoplimit { ${TTLS} } return`,
    `tcp flags & (syn | ack) == syn | ack return; drop; }`,
    ...chains,
    "}",
    "",
  ].join("\n");
}

/** One transaction that has it forget what it has seen. */
export function renderForget(): string {
  return Object.keys(SETS).map((name) => `flush set inet ${TABLE} ${name}\n`).join("");
}

/** The command that lists what has been seen, for {@linkcode parseSightings}. */
export const LIST_OBSERVER: readonly string[] = ["nft", "-j", "list", "table", "inet", TABLE];

/** By the packets' numbers. */
export function parseSightings(json: string): ReadonlyMap<number, Sightings> {
  const found = new Map<number, MutableSightings>();
  for (const { set } of (JSON.parse(json) as { nftables: { set?: ListedSet }[] }).nftables) {
    for (const element of set?.elem ?? []) {
      const [id = 0, ...rest] = typeof element === "number" ? [element] : element.concat;
      let sightings = found.get(id);
      if (sightings === undefined) found.set(id, sightings = unseen());
      note(sightings, set!.name, rest);
    }
  }
  return found;
}

/** Of a packet that nobody has seen. */
function unseen(): MutableSightings {
  return {
    lostAt: new Set(),
    left: new Map(),
    socketMarks: [],
    transparent: false,
    wildcard: false,
    here: false,
    flows: new Map(),
    untracked: false,
    rewritten: false,
  };
}

interface ListedSet {
  readonly name: string;
  readonly elem?: readonly (number | { readonly concat: readonly number[] })[];
}

interface MutableSightings extends Sightings {
  readonly lostAt: Set<WatchedHook>;
  readonly left: Map<WatchedHook, Sighting[]>;
  readonly socketMarks: number[];
  readonly flows: Map<WatchedHook, FlowSighting>;
  transparent: boolean;
  wildcard: boolean;
  here: boolean;
  untracked: boolean;
  rewritten: boolean;
}

function note(sightings: MutableSightings, set: string, [first = 0, second = 0]: readonly number[]): void {
  const [hook, what] = set.split("_") as [WatchedHook, string];
  if (set === "socket_mark") sightings.socketMarks.push(first);
  else if (set === "socket_transparent") sightings.transparent = true;
  else if (set === "socket_wildcard") sightings.wildcard = true;
  else if (set === "here") sightings.here = true;
  else if (set === "untracked") sightings.untracked = true;
  else if (set === "rewritten") sightings.rewritten = true;
  else if (what === "lost") sightings.lostAt.add(hook);
  else if (what === "flow") sightings.flows.set(hook, { mark: first, zone: second });
  else {sightings.left.set(hook, [...sightings.left.get(hook) ?? [], {
      mark: first,
      destinationPort: second,
    }]);}
}

const TTLS = `${WATCHED_TTL}, ${UNWATCHED_TTL}`;

function chain(name: string, hook: string, priority: number, rules: readonly string[]): string {
  return `chain ${name} { type filter hook ${hook} priority ${priority}; policy accept;\n${
    rules.join("\n")
  }\n}`;
}

/** ICMP has its checksum where the others have a destination port: it is made to be the row's number. */
function watched(statement: (id: string) => string): string[] {
  return (["ip ttl", "ip6 hoplimit"] as const).flatMap((ttl) => {
    // One hop less when it has been forwarded.
    const own = `${ttl} { ${WATCHED_TTL}, ${WATCHED_TTL - 1} }`;
    return [
      `${own} meta l4proto { tcp, udp } ${statement("th sport")}`,
      `${own} meta l4proto { icmp, icmpv6 } ${statement("th dport")}`,
    ];
  });
}

function atInput(): string[] {
  return [
    ...watched((id) => `add @socket_mark { ${id} . socket mark }`),
    ...watched((id) => `socket transparent 1 add @socket_transparent { ${id} }`),
    ...watched((id) => `socket wildcard 1 add @socket_wildcard { ${id} }`),
    ...watched((id) => `fib daddr type { ${HERE} } add @here { ${id} }`),
  ];
}

const HERE = "local, broadcast, anycast, multicast";
