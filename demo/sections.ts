/**
 * What the demo shows, in order: how the proxy is started, and the traffic it then gets.
 *
 * @module
 */
import { BULK } from "./bulk_traffic.ts";
import { DOWNLOAD, REFUSED } from "./curl_traffic.ts";
import { CONE, GAME_QUERY, LARGE } from "./datagram_traffic.ts";
import { DIG } from "./dig_traffic.ts";
import type { Expectation } from "./judge.ts";
import { CLIENT_SIDE } from "./stage.ts";
import type { Traffic } from "./traffic.ts";

/** A part of the table. */
export interface Section {
  readonly title: string;
  readonly proxy: Expectation["proxy"];
  /** Flags of `run`; of no use without a proxy. */
  readonly flags: readonly string[];
  /** Each is made over IPv4 and over IPv6. */
  readonly traffic: readonly Traffic[];
}

const TCP = [DOWNLOAD, BULK, REFUSED];
const UDP = [DIG, GAME_QUERY, CONE, LARGE];

/** The whole demo. */
export const SECTIONS: readonly Section[] = [
  {
    title: "without a proxy: the server sees the client itself",
    proxy: "none",
    flags: [],
    traffic: [DOWNLOAD],
  },
  {
    title: "TPROXY: the packets keep their destination, and so the proxy knows it",
    proxy: "own-address",
    flags: ["--from", CLIENT_SIDE],
    traffic: [...TCP, ...UDP],
  },
  {
    title: "TPROXY, client addresses kept: the server cannot tell that there is a proxy",
    proxy: "keeps-address",
    flags: ["--source", "keep", "--from", CLIENT_SIDE],
    traffic: [...TCP, ...UDP],
  },
  {
    title: "REDIRECT, for TCP: NAT rewrites the destination, the proxy asks conntrack for it",
    proxy: "own-address",
    flags: ["--tcp", "redirect", "--from", CLIENT_SIDE],
    traffic: TCP,
  },
];

/** A row of every traffic in each family, and one for what is left after the proxy's end. */
export function checksIn(section: Section, families: number): number {
  return section.traffic.length * families + (section.proxy === "none" ? 0 : 1);
}
