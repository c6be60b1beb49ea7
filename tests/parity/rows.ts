/**
 * The packet table: what is sent through every case's rules. The same for all cases; rows_of_case.ts adds what a
 * case's own selectors ask for.
 *
 * A packet more is one more value in a list here; a kind of packet more is one more function in {@linkcode tableRows}.
 *
 * @module
 */
import type { IpFamily } from "../../net/mod.ts";
import { FOREIGN_MARKS, type History, type Row, type RowWay, type Segment } from "./row.ts";

/** Where things are: the gateway's networks, and hosts behind it. */
export const PLACES = {
  client: { 4: "192.0.2.2", 6: "2001:db8:1::2" },
  otherClient: { 4: "198.18.1.2", 6: "2001:db8:2::2" },
  gatewayLan: { 4: "192.0.2.1", 6: "2001:db8:1::1" },
  gatewayWan: { 4: "198.18.0.1", 6: "2001:db8:ffff::1" },
  loopback: { 4: "127.0.0.1", 6: "::1" },
  server: { 4: "198.51.100.10", 6: "2001:db8:100::10" },
  otherServer: { 4: "203.0.113.5", 6: "2001:db8:113::5" },
} as const satisfies Record<string, Readonly<Record<IpFamily, string>>>;

const FAMILIES = [4, 6] as const;
const FIRST_SEGMENTS = ["syn", "udp"] as const;
const ALL_SEGMENTS = ["syn", "ack", "syn+ack", "rst", "fin+ack", "udp", "echo"] as const;
const MAC = "02:00:5e:10:00:01";
const MACS = [MAC, "02:00:5e:10:00:02", "02:00:5e:10:00:66"] as const;
const PORT = 8000;

/** What neither a gateway nor a pod's own rules may take, or only with care. */
const SPECIAL: Readonly<Record<IpFamily, readonly string[]>> = {
  4: ["224.0.0.251", "239.1.2.3", "255.255.255.255", "192.0.2.255", "169.254.1.1", "0.0.0.0", "127.0.0.1"],
  // The last one is the anycast address of the routers on lan0.
  6: ["ff02::fb", "ff05::2", "fe80::5", "::", "::ffff:198.51.100.10", "::ffff:192.0.2.1", "2001:db8:1::"],
};

/** Ports that exceptions and listeners are about. */
const PORTS = [22, 53, 67, 80, 123, 443, 546, 7870, 7871, 9000, 15001, 15006, 15053];

/** SO_MARK of what the host sends: none, ours, others' bits, both. */
const SENT_MARKS = [
  0,
  0x02000000,
  0x03000000,
  0x01000000,
  0x40,
  0x80,
  0x1000,
  0x80000,
  0x02080000,
  0x10000000,
];

/** For a pod, or for a gateway or host. */
export function tableRows(isSidecar: boolean): Row[] {
  return [
    ...arrivingRows(),
    ...specialRows(),
    ...portRows(),
    ...linkRows(),
    ...sentRows(),
    ...laterRows(),
    // A pod has no sockets with others' addresses as their own.
    ...(isSidecar ? [] : socketRows()),
    ...workerRows(),
  ];
}

/** By every interface, with every flag, to others and to this host. */
function arrivingRows(): Row[] {
  return FAMILIES.flatMap((family) =>
    (["lan0", "lan1", "wan0"] as const).flatMap((name) =>
      ALL_SEGMENTS.flatMap((segment) =>
        destinationsFrom(name).map((place): Row => ({
          ...firstOf(family, segment),
          way: arriving(name),
          source: sourceAt(name, family),
          destination: PLACES[place][family],
        }))
      )
    )
  );
}

function destinationsFrom(name: "lan0" | "lan1" | "wan0"): (keyof typeof PLACES)[] {
  return name === "wan0"
    ? ["client", "gatewayWan", "gatewayLan"]
    : ["server", "otherServer", "gatewayLan", "gatewayWan"];
}

/** TCP to many is nobody's: the kernel loses it, whatever the rules. */
function specialRows(): Row[] {
  return FAMILIES.flatMap((family) =>
    SPECIAL[family].flatMap((destination) =>
      arrivingSegmentsTo(destination).flatMap((segment) =>
        (["lan0", "wan0"] as const).map((name): Row => ({
          ...firstOf(family, segment),
          way: arriving(name),
          source: sourceAt(name, family),
          destination,
        }))
      )
    )
  );
}

function segmentsTo(destination: string): readonly ("syn" | "udp")[] {
  return isMany(destination) ? ["udp"] : FIRST_SEGMENTS;
}

export function isMany(destination: string): boolean {
  return /^(22[4-9]|23\d|ff)|\.255$/.test(destination);
}

/** Of what arrives the kernel also loses what is for 0.0.0.0 or 127.0.0.1. */
function arrivingSegmentsTo(destination: string): readonly ("syn" | "udp")[] {
  return /^(0|127)\./.test(destination) ? ["udp"] : segmentsTo(destination);
}

function portRows(): Row[] {
  return PORTS.flatMap((port) =>
    FAMILIES.flatMap((family) =>
      FIRST_SEGMENTS.flatMap((segment): Row[] => [
        { ...firstOf(family, segment), port },
        { ...firstOf(family, segment), port, way: sent(0), source: PLACES.gatewayWan[family] },
        {
          ...firstOf(family, segment),
          ...{ port, way: arriving("wan0"), source: PLACES.server[family] },
          destination: PLACES.gatewayWan[family],
        },
      ])
    )
  );
}

/** MAC, marks of other rules, source addresses, don't-fragment. */
function linkRows(): Row[] {
  const segments = ["syn", "ack", "udp"] as const;
  return FAMILIES.flatMap((family) => [
    ...MACS.flatMap((mac) =>
      FIRST_SEGMENTS.map((segment): Row => ({ ...firstOf(family, segment), way: arriving("lan0", mac) }))
    ),
    ...FOREIGN_MARKS.flatMap((mark) =>
      segments.map((segment): Row => ({ ...firstOf(family, segment), way: arriving("lan0", MAC, mark) }))
    ),
    ...(family === 4 ? ["192.0.2.66", "192.0.2.67", "198.18.9.9"] : ["2001:db8:1::66", "2001:db8:9::9"])
      .flatMap((source) => FIRST_SEGMENTS.map((segment): Row => ({ ...firstOf(family, segment), source }))),
    ...(family === 4 ? ALL_SEGMENTS : []).flatMap((segment): Row[] => [
      { ...firstOf(family, segment), dontFragment: true },
      { ...firstOf(family, segment), dontFragment: true, way: sent(0), source: PLACES.gatewayWan[4] },
    ]),
  ]);
}

/** By the host itself, as uid and gid 0, to others and to itself. */
function sentRows(): Row[] {
  return FAMILIES.flatMap((family) => {
    const marked = SENT_MARKS.flatMap((mark) =>
      (["syn", "ack", "udp", "echo"] as const).map((segment): Row => ({
        ...firstOf(family, segment),
        way: sent(mark),
        source: PLACES.gatewayWan[family],
      }))
    );
    const destinations = [
      ...(["client", "otherClient", "otherServer", "gatewayLan", "gatewayWan", "loopback"] as const)
        .map((place) => PLACES[place][family]),
      ...SENT_SPECIAL[family],
    ];
    const elsewhere = destinations.flatMap((destination) =>
      segmentsTo(destination).map((segment): Row => ({
        ...firstOf(family, segment),
        ...{ way: sent(0), destination, source: sourceTowards(destination, family) },
      }))
    );
    // A pod's program that calls itself through its own address: by the proxy's sockets, and as itself.
    const itself = [0, 0x02000000, 0x03000000].flatMap((mark) =>
      [PLACES.gatewayWan[family], PASSTHROUGH[family]].flatMap((source) =>
        FIRST_SEGMENTS.map((segment): Row => ({
          ...firstOf(family, segment),
          ...{ way: sent(mark), source, destination: PLACES.gatewayWan[family] },
        }))
      )
    );
    return [...marked, ...elsewhere, ...itself];
  });
}

const SENT_SPECIAL: Readonly<Record<IpFamily, readonly string[]>> = {
  4: ["224.0.0.251", "255.255.255.255", "169.254.1.1", "127.0.0.5"],
  6: ["ff02::fb", "fe80::5", "::ffff:198.51.100.10"],
};
const PASSTHROUGH = { 4: "127.0.0.6", 6: "::6" } as const;

/** Packets that are not their flow's first. */
function laterRows(): Row[] {
  const ways: readonly [RowWay, keyof typeof PLACES, keyof typeof PLACES][] = [
    [arriving("lan0"), "client", "server"],
    [arriving("lan0"), "client", "otherServer"],
    [arriving("lan1"), "otherClient", "server"],
    [arriving("wan0"), "server", "client"],
    [sent(0), "gatewayWan", "server"],
    [sent(0x80000), "gatewayWan", "server"],
  ];
  const histories: readonly [History, readonly Segment[]][] = [
    ["seen", ["ack", "fin+ack", "rst", "udp"]],
    ["answer", ["syn+ack", "udp"]],
    ["taken", ["ack", "fin+ack", "rst", "udp"]],
    ["handshake", ["ack"]],
  ];
  return FAMILIES.flatMap((family) =>
    ways.flatMap(([way, source, destination]) =>
      histories.flatMap(([history, segments]) =>
        segments.map((segment): Row => ({
          ...firstOf(family, segment),
          ...{ way, history, source: PLACES[source][family], destination: PLACES[destination][family] },
        }))
      )
    )
  );
}

/** Answers to sockets that carry a client's address, and to others. */
function socketRows(): Row[] {
  const sockets = [
    { transparent: true, mark: 0x02000000 },
    { transparent: true, mark: 0 },
    { transparent: false, mark: 0x02000000 },
  ];
  return FAMILIES.flatMap((family) =>
    sockets.flatMap((socket) =>
      // For a socket that is not transparent TPROXY does on iptables what it does without a listener, so the first
      // packet of such a connection, which nobody sends, is not here.
      (socket.transparent ? ["syn", "ack", "udp", "unreachable"] as const : ["ack", "unreachable"] as const)
        .flatMap((segment) =>
          (["wan0", "lan0"] as const).map((name): Row => ({
            ...firstOf(family, segment),
            ...{ way: arriving(name), socket },
            source: PLACES.server[family],
            destination: PLACES.client[family],
          }))
        )
    )
  );
}

/** One endpoint that sends to many has one worker. */
function workerRows(): Row[] {
  return FAMILIES.flatMap((family) =>
    [0, 1, 2, 3].flatMap((_): Row[] => {
      // All of them are chosen, or none, by every case.
      const to = [12, 14, 16, 18].map((last) =>
        family === 4 ? `198.51.100.${last}` : `2001:db8:100::${last}`
      );
      const row: Row = { ...firstOf(family, "udp"), destination: to[0]!, alsoTo: to.slice(1) };
      return [row, { ...row, way: sent(0), source: PLACES.gatewayWan[family] }];
    })
  );
}

/** From a client to a server. */
export function firstOf(family: IpFamily, segment: Segment): Row {
  return {
    ...{ family, segment, port: PORT, history: "first", way: arriving("lan0") },
    source: PLACES.client[family],
    destination: PLACES.server[family],
  };
}

/** Sent with that SO_MARK. */
export function sent(mark: number): RowWay {
  return { kind: "sent", mark };
}

/** Comes in there; `mark` as by a rule before ours. */
export function arriving(name: string, mac: string = MAC, mark = 0): RowWay {
  return { kind: "arriving", interface: name, mac, mark };
}

/** A sender behind that interface. */
export function sourceAt(name: string, family: IpFamily): string {
  const place = name === "lan0" ? "client" : name === "lan1" ? "otherClient" : "server";
  return PLACES[place][family];
}

function sourceTowards(destination: string, family: IpFamily): string {
  return /^(127\.|::1$)/.test(destination) ? PLACES.loopback[family] : PLACES.gatewayWan[family];
}
