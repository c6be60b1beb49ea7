/**
 * The flags that say which of the traffic is taken.
 *
 * @module
 */
import type { SelectorConfig } from "../config/mod.ts";
import { type FlagValues, list, texts, under } from "./flag.ts";
import { CGROUPS, GROUPS, INTERFACES, MACS, MARKS, PORTS, PREFIXES, USERS } from "../config/network_value.ts";

/**
 * Pairs of what to take and what to leave alone. A flow is taken when every pair of which something is to be taken
 * names it there, and none names it to be left alone.
 */
export const SELECTOR_FLAGS = under("which of it (several values: commas between, or the flag again)", {
  "include-cidr": list(PREFIXES, "take what is sent to these addresses alone", "all"),
  "exclude-cidr": list(PREFIXES, "leave alone what is sent to these addresses"),
  "include-cidr-file": texts(
    "FILE",
    "the same from a file of one prefix or address a line, # begins a comment; read again when it changes",
  ),
  "exclude-cidr-file": texts("FILE", "leave alone what is sent to the addresses in a file"),
  "include-source": list(PREFIXES, "take what comes from these addresses alone", "all"),
  "exclude-source": list(PREFIXES, "leave alone what comes from these addresses"),
  "include-source-file": texts("FILE", "take what comes from the addresses in a file alone"),
  "exclude-source-file": texts("FILE", "leave alone what comes from the addresses in a file"),
  "tcp-ports": list(PORTS, "take TCP connections to these ports alone, for example 443,8000-8999", "all"),
  "exclude-tcp-ports": list(PORTS, "leave alone TCP connections to these ports"),
  "udp-ports": list(
    PORTS,
    "take datagrams to these ports alone; what a client sends to other ports passes by, and is seen from " +
      "elsewhere (TFTP, full cone)",
    "all",
  ),
  "exclude-udp-ports": list(
    PORTS,
    "leave alone datagrams to these ports; the same holds for what is sent there",
  ),
  to: list(
    INTERFACES,
    "of own traffic, take what leaves by these interfaces alone (names, or patterns)",
    "all",
  ),
  "exclude-to": list(INTERFACES, "of own traffic, leave alone what leaves by these interfaces"),
  "include-mac": list(MACS, "of forwarded traffic, take what comes from these network cards alone", "all"),
  "exclude-mac": list(MACS, "of forwarded traffic, leave alone what comes from these network cards"),
  "include-uid": list(
    USERS,
    "of own traffic, take that of these users alone (names, numbers, ranges)",
    "all",
  ),
  "exclude-uid": list(USERS, "of own traffic, leave alone that of these users"),
  "include-gid": list(
    GROUPS,
    "of own traffic, take that of these groups alone (names, numbers, ranges)",
    "all",
  ),
  "exclude-gid": list(GROUPS, "of own traffic, leave alone that of these groups"),
  "include-cgroup": list(
    CGROUPS,
    "of own traffic, take that of these cgroups (v2) and those in them alone",
    "all",
  ),
  "exclude-cgroup": list(CGROUPS, "of own traffic, leave alone that of these cgroups and those in them"),
  "include-mark": list(MARKS, "take packets that others have marked so alone", "all"),
  "exclude-mark": list(MARKS, "leave alone packets that others have marked so"),
});

/** The selectors that the flags describe. */
export function selectorConfig(values: FlagValues<typeof SELECTOR_FLAGS>): SelectorConfig {
  return {
    destinations: {
      include: values["include-cidr"],
      exclude: values["exclude-cidr"],
      includeFiles: values["include-cidr-file"],
      excludeFiles: values["exclude-cidr-file"],
    },
    sources: {
      include: values["include-source"],
      exclude: values["exclude-source"],
      includeFiles: values["include-source-file"],
      excludeFiles: values["exclude-source-file"],
    },
    tcpPorts: { include: values["tcp-ports"], exclude: values["exclude-tcp-ports"] },
    udpPorts: { include: values["udp-ports"], exclude: values["exclude-udp-ports"] },
    outgoing: { include: values.to, exclude: values["exclude-to"] },
    macs: { include: values["include-mac"], exclude: values["exclude-mac"] },
    uids: { include: values["include-uid"], exclude: values["exclude-uid"] },
    gids: { include: values["include-gid"], exclude: values["exclude-gid"] },
    cgroups: { include: values["include-cgroup"], exclude: values["exclude-cgroup"] },
    marks: { include: values["include-mark"], exclude: values["exclude-mark"] },
  };
}
