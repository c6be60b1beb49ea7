/**
 * What a configuration file can say of upstreams, groups and rules.
 *
 * @module
 */
import { z } from "zod";
import { INTERFACES, type ListKind, PORTS, PREFIXES, readServer, USERS } from "../network_value.ts";
import {
  DURATION,
  field,
  oneOf,
  parsed,
  required,
  SECRET,
  several,
  SWITCH,
  text,
  texts,
  whole,
  word,
} from "./field_kinds.ts";

/** ADDR:PORT, [ADDR]:PORT or NAME:PORT. */
const SERVER = parsed("HOST:PORT, an IPv6 address in brackets", readServer);
const NAME = text("the name of an upstream or a group");
const NAMES = texts("names of upstreams");

/** Codepoints are numbers alone. */
const CODEPOINTS: ListKind<number> = {
  placeholder: "DSCP",
  wanted: "numbers from 0 to 63",
  read: (text) => /^\d{1,2}$/.test(text) ? Number(text) : undefined,
};

const timeout = field(DURATION, "Connection and handshake have to be done by then.", "10s");

const LOGIN = {
  username: field(text("a name in quotes"), "Who we say we are; needs one of the passwords."),
  password: field(SECRET, "The password itself; better in a file or the environment."),
  "password-file": field(
    text("a path in quotes"),
    "File that holds the password alone. A path that does not begin with / is relative to this file.",
  ),
  "password-env": field(
    text("the name of a variable"),
    "Variable of the environment that holds the password.",
  ),
};

const DIRECT = z.strictObject({
  kind: z.literal("direct"),
  source: field(
    word("own", "keep"),
    "Source address: this host's, or the client's own. As `source` if not given.",
  ),
  interface: field(text("the name of an interface"), "Leave by this interface alone."),
  mark: field(
    whole(0, 0xffff_ffff),
    "Bits of the packet mark to set beside our own, for other programs' rules.",
    0,
  ),
  dscp: field(whole(0, 63), "Codepoint (DSCP) of what is sent."),
}).meta({ description: "From this host, with options of its own." });

const SOCKS5 = z.strictObject({
  kind: z.literal("socks5"),
  server: required(SERVER, "HOST:PORT of the server."),
  ...LOGIN,
  pipeline: field(
    SWITCH,
    "Send greeting, password and request at once. false for a server that cannot take that: more round trips.",
    true,
  ),
  udp: field(SWITCH, "Whether it carries UDP (UDP ASSOCIATE).", true),
  timeout,
}).meta({ description: "A SOCKS5 server." });

const HTTP = z.strictObject({
  kind: z.literal("http"),
  server: required(SERVER, "HOST:PORT of the proxy."),
  ...LOGIN,
  timeout,
}).meta({ description: "An HTTP proxy (CONNECT). It carries TCP alone." });

const PROXY_PROTOCOL = z.strictObject({
  kind: z.literal("proxy-protocol"),
  version: field(oneOf(1, 2), "1: text, TCP alone; 2: binary, also in front of each datagram.", 2),
  server: field(SERVER, "HOST:PORT of who gets it; if not given, the destination itself."),
  timeout,
}).meta({ description: "The connection as it is, with a header in front that says whose it is." });

const BLOCK = z.strictObject({
  kind: z.literal("block"),
  how: field(
    word("reset", "icmp", "drop"),
    "reset: RST, for UDP port unreachable; icmp: administratively prohibited, for TCP RST; drop: silence.",
    "reset",
  ),
}).meta({ description: "Nowhere." });

const CHAIN = z.strictObject({
  kind: z.literal("chain"),
  hops: required(
    NAMES,
    "Two to eight upstreams: the first is reached from here, the last reaches the destination.",
  ),
}).meta({ description: "One upstream through the other. It carries TCP alone." });

/** `[upstream.NAME]` */
export const UPSTREAM = z.discriminatedUnion("kind", [DIRECT, SOCKS5, HTTP, PROXY_PROTOCOL, BLOCK, CHAIN], {
  error: '"direct", "socks5", "http", "proxy-protocol", "block" or "chain"',
});

/** `[group.NAME.check]` */
const CHECK = z.strictObject({
  enabled: field(SWITCH, "false: flows alone tell which members work.", true),
  target: field(
    SERVER,
    "HOST:PORT that a member is asked to open; if not given, only its server is connected to.",
  ),
  interval: field(DURATION, "Time between two checks.", "10s"),
  timeout: field(DURATION, "A check that is not done by then has failed.", "5s"),
  rise: field(whole(1, 1000), "So many successes in a row make a member usable again.", 2),
  fall: field(whole(1, 1000), "So many failures in a row, of checks or flows, make it unusable.", 3),
}).meta({ description: "How members are looked after." });

/** `[group.NAME]` */
export const GROUP = z.strictObject({
  kind: required(
    word("failover", "round-robin", "least-latency"),
    "failover: the first member that works; round-robin: each in turn; least-latency: the one that answers soonest.",
  ),
  members: required(NAMES, "Names of upstreams."),
  check: CHECK.optional(),
  "live-flows": field(
    word("keep", "reset"),
    "What becomes of open flows through a member that goes down.",
    "keep",
  ),
}).meta({ description: "Several upstreams by one name." });

/** `[[rule]]` */
export const RULE = z.strictObject({
  network: field(word("tcp", "udp"), "TCP alone or UDP alone."),
  destination: field(several(PREFIXES), "Destination prefixes or addresses."),
  "destination-file": field(
    texts("paths"),
    "Files of one prefix or address a line, beside `destination`. Paths are relative to this file.",
  ),
  "destination-port": field(several(PORTS), 'Destination ports: 443, "8000-8999", ["53", 853].'),
  source: field(several(PREFIXES), "Source prefixes or addresses."),
  "source-file": field(texts("paths"), "Files of one prefix or address a line, beside `source`."),
  "source-port": field(several(PORTS), "Source ports."),
  interface: field(several(INTERFACES), "Interfaces the flow came in by, by name or pattern (br-*)."),
  uid: field(several(USERS), "Users whose programs opened the flow, by name or number; own traffic only."),
  dscp: field(several(CODEPOINTS), "Codepoints (DSCP), 0 to 63."),
  use: required(NAME, "Upstream or group by which such flows leave."),
}).meta({
  description:
    "The first rule that is about a flow decides; a rule is about flows that all its filters name.",
});
