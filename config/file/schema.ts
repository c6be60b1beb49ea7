/**
 * The whole configuration file: which tables and keys there are, what each takes, and what it is for.
 *
 * What a key takes is what its flag takes. Only that is judged here which a value says by itself; whether it makes
 * sense is for the checks of the configuration, which flags go through too.
 *
 * @module
 */
import { z } from "zod";
import {
  ADDRESSES,
  CGROUPS,
  endpoints,
  GROUPS,
  INTERFACES,
  MACS,
  MARKS,
  PORTS,
  PREFIXES,
  USERS,
} from "../network_value.ts";
import { DURATION, field, several, SWITCH, text, texts, whole, word } from "./field_kinds.ts";
import { GROUP, RULE, UPSTREAM } from "./upstream_schema.ts";

const FILES = texts("paths");
const PORT = whole(1, 65_535);
const LIMIT = whole(0, 4_000_000);

const INTERCEPT = z.strictObject({
  from: field(several(INTERFACES), "Interfaces whose forwarded traffic is taken, by name or pattern (br-*)."),
  "exclude-from": field(several(INTERFACES), "Interfaces that a pattern of `from` does not mean."),
  "include-cidr": field(several(PREFIXES), "Take what is sent to these addresses alone."),
  "exclude-cidr": field(several(PREFIXES), "Leave alone what is sent to these addresses."),
  "include-cidr-file": field(FILES, "The same from files of one prefix or address a line."),
  "exclude-cidr-file": field(FILES, "Leave alone what is sent to the addresses in files."),
  "include-source": field(several(PREFIXES), "Take what comes from these addresses alone."),
  "exclude-source": field(several(PREFIXES), "Leave alone what comes from these addresses."),
  "include-source-file": field(FILES, "Take what comes from the addresses in files alone."),
  "exclude-source-file": field(FILES, "Leave alone what comes from the addresses in files."),
  "tcp-ports": field(several(PORTS), "Take TCP connections to these ports alone."),
  "exclude-tcp-ports": field(several(PORTS), "Leave alone TCP connections to these ports."),
  "udp-ports": field(several(PORTS), "Take datagrams to these ports alone."),
  "exclude-udp-ports": field(several(PORTS), "Leave alone datagrams to these ports."),
  to: field(several(INTERFACES), "Of own traffic, take what leaves by these interfaces alone."),
  "exclude-to": field(several(INTERFACES), "Of own traffic, leave alone what leaves by these interfaces."),
  "include-mac": field(
    several(MACS),
    "Of forwarded traffic, take what comes from these network cards alone.",
  ),
  "exclude-mac": field(
    several(MACS),
    "Of forwarded traffic, leave alone what comes from these network cards.",
  ),
  "include-uid": field(several(USERS), "Of own traffic, take that of these users alone."),
  "exclude-uid": field(several(USERS), "Of own traffic, leave alone that of these users."),
  "include-gid": field(several(GROUPS), "Of own traffic, take that of these groups alone."),
  "exclude-gid": field(several(GROUPS), "Of own traffic, leave alone that of these groups."),
  "include-cgroup": field(several(CGROUPS), "Of own traffic, take that of these cgroups (v2) alone."),
  "exclude-cgroup": field(several(CGROUPS), "Of own traffic, leave alone that of these cgroups."),
  "include-mark": field(several(MARKS), "Take packets that others have marked so alone."),
  "exclude-mark": field(several(MARKS), "Leave alone packets that others have marked so."),
}).meta({ description: "Which traffic is taken." });

const SIDECAR = z.strictObject({
  inbound: field(
    word("redirect", "tproxy", "off"),
    "How connections to the pod are intercepted.",
    "redirect",
  ),
  "inbound-port": field(PORT, "Port of the listener for them.", 15_006),
  "inbound-ports": field(several(PORTS), "Take connections to these ports of the pod alone."),
  "exclude-inbound-ports": field(several(PORTS), "Leave alone connections to these ports of the pod."),
  "outbound-ports": field(
    several(PORTS),
    "Take connections to these ports also where include-cidr does not.",
  ),
  "proxy-uid": field(several(USERS), "Users as which the proxy runs: nothing of theirs is taken."),
  "proxy-gid": field(several(GROUPS), "Groups as which the proxy runs."),
  "exclude-interface": field(several(INTERFACES), "Leave alone what comes in or leaves by these interfaces."),
  "virtual-interface": field(several(INTERFACES), "Interfaces of virtual machines in the pod."),
  "capture-dns": field(word("off", "servers", "all"), "Whose queries [dns] answers.", "off"),
  "dns-server": field(
    several(ADDRESSES),
    "Name servers whose queries are taken; those of the system if not given.",
  ),
  "dns-port": field(PORT, "Port of the listeners for queries.", 15_053),
  "drop-invalid": field(SWITCH, "Drop packets that conntrack cannot place on their way in.", false),
}).meta({ description: 'One pod\'s traffic, with mode = "sidecar".' });

const TCP = z.strictObject({
  mode: field(
    word("tproxy", "redirect", "off"),
    'How TCP is intercepted; off: not at all. If not given: "tproxy", in a sidecar "redirect".',
  ),
  "connect-timeout": field(DURATION, "How long a destination may take to answer.", "30s"),
  "idle-timeout": field(DURATION, "End a connection that carries nothing for so long; 0: never.", "7440s"),
  "half-closed-timeout": field(DURATION, "The same when one side has closed; 0: never.", "4m"),
  keepalive: field(DURATION, "First keepalive probe after so much silence; 0: no probes.", "2m"),
  "user-timeout": field(
    DURATION,
    "How long data may stay unacknowledged; 0: as the kernel has it. A reader that pauses for longer loses its " +
      "connection too.",
    0,
  ),
}).meta({ description: "Connections." });

const UDP = z.strictObject({
  mode: field(
    word("tproxy", "off"),
    'How UDP is intercepted; off: not at all. If not given: "tproxy", in a sidecar "off".',
  ),
  filter: field(
    word("endpoint", "address", "address-port"),
    "Whose datagrams reach a client: anyone's (full cone), those of addresses it has written to, or of addresses " +
      "and ports.",
    "endpoint",
  ),
  timeout: field(DURATION, "End a session whose client has sent nothing for so long; at least 2m.", "5m"),
  "refresh-inbound": field(SWITCH, "Datagrams to the client keep its session alive too.", false),
}).meta({ description: "Datagrams." });

const LIMITS = z.strictObject({
  "max-connections": field(LIMIT, "Most TCP connections at once."),
  "max-connections-per-client": field(LIMIT, "Most from one client address (IPv6: one /64); 0: no limit.", 0),
  "max-sessions": field(LIMIT, "Most UDP sessions at once."),
  "max-sessions-per-client": field(LIMIT, "Most from one client address (IPv6: one /64); 0: no limit."),
}).meta({ description: "How much is carried at once." });

/** The file, from the top. */
export const CONFIG_FILE = z.strictObject({
  $schema: field(text("the address of a JSON Schema"), "For editors; it means nothing here."),
  mode: field(
    word("gateway", "host", "gateway-and-host", "sidecar"),
    "gateway: what is forwarded from the interfaces in intercept.from; host: what this host itself sends; " +
      "sidecar: one pod's connections, to it and from it, in its network namespace.",
    "gateway",
  ),
  port: field(PORT, "Port of the listeners. If not given: 7870, in a sidecar 15001."),
  workers: field(whole(1, 256), "Data-plane threads. If not given: the number of CPUs, at most 4."),
  source: field(
    word("own", "keep"),
    "Source address towards destinations: this host's own, or keep the client's.",
    "own",
  ),
  "drain-timeout": field(
    DURATION,
    "How long open connections and sessions are carried on when stopping.",
    "30s",
  ),
  intercept: INTERCEPT.optional(),
  sidecar: SIDECAR.optional(),
  tcp: TCP.optional(),
  udp: UDP.optional(),
  dns: z.strictObject({
    resolvers: field(
      several(endpoints(53)),
      "Answer intercepted DNS from these, the next when one does not answer.",
    ),
  }).meta({ description: "Answering intercepted DNS." }).optional(),
  limits: LIMITS.optional(),
  rules: z.strictObject({
    tool: field(
      word("auto", "nft", "iptables", "iptables-legacy", "none"),
      "What manages the kernel's rules; auto: what this host can do and already uses; none: you do.",
      "auto",
    ),
    "on-proxy-down": field(
      word("open", "closed"),
      "When no proxy runs: traffic flows as if it had never been there, or what it would have taken is dropped.",
      "open",
    ),
  }).meta({ description: "The kernel's rules." }).optional(),
  log: z.strictObject({
    format: field(word("text", "json"), "Form of log lines on stderr.", "text"),
    level: field(word("debug", "info", "warn", "error"), "Least severe line shown.", "info"),
    flows: field(SWITCH, "Log a line for each finished flow.", false),
  }).meta({ description: "What is said." }).optional(),
  upstream: z.record(z.string(), UPSTREAM).optional().meta({
    description: "Ways for flows to leave, by name.",
  }),
  group: z.record(z.string(), GROUP).optional().meta({ description: "Several upstreams by one name." }),
  rule: z.array(RULE, { error: "[[rule]], in two brackets" }).optional().meta({
    description: "Which flow leaves by which upstream: the first rule that is about it decides.",
  }),
  policy: z.strictObject({
    default: field(text("the name of an upstream or a group"), "For flows that no rule is about.", "direct"),
    "push-down": field(
      SWITCH,
      "Direct rules that the kernel can decide are put into its rules: such traffic never comes here.",
      true,
    ),
    module: field(
      text("the path or the address of a module"),
      "A module in TypeScript whose default export decides before the rules (docs/embedding.md). Nothing is put into " +
        "the kernel's rules then.",
    ),
    budget: field(DURATION, "Its answer is not used when it took longer.", "5ms"),
  }).meta({ description: "What holds where no rule decides, and what decides before them." }).optional(),
}).meta({ title: "Pellucid's configuration file" });

/** What is read. */
export type ConfigFile = z.output<typeof CONFIG_FILE>;
