/**
 * The flags of a sidecar. Their defaults hold only with `--sidecar`; without it none may be given.
 *
 * @module
 */
import {
  type ConfigIssue,
  DEFAULT_SIDECAR,
  RESOLV_CONF,
  SIDECAR_DNS_PORT,
  type SidecarConfig,
  type SidecarDnsConfig,
  type TcpMode,
} from "../config/mod.ts";
import { choice, type FlagValues, list, toggle, under, whole } from "./flag.ts";
import { ADDRESSES, GROUPS, INTERFACES, PORTS, USERS } from "../config/network_value.ts";

/** What only a sidecar has. */
export const SIDECAR_FLAGS = under("with --sidecar", {
  inbound: choice(
    ["redirect", "tproxy", "off"],
    undefined,
    "how connections to the pod are intercepted; off: not at all",
    DEFAULT_SIDECAR.inbound,
  ),
  "inbound-port": whole(undefined, "port of the listener for them", `${DEFAULT_SIDECAR.inboundPort}`),
  "inbound-ports": list(PORTS, "take connections to these ports of the pod alone", "all"),
  "exclude-inbound-ports": list(PORTS, "leave alone connections to these ports of the pod"),
  "outbound-ports": list(
    PORTS,
    "take connections to these ports outbound, also where --include-cidr does not",
  ),
  "proxy-uid": list(
    USERS,
    "users as which the proxy runs: nothing of theirs is taken outbound; only for a proxy that may not mark " +
      "its sockets (no CAP_NET_ADMIN or CAP_NET_RAW)",
  ),
  "proxy-gid": list(GROUPS, "the same for groups"),
  "exclude-interface": list(INTERFACES, "leave alone what comes in or leaves by these interfaces"),
  "virtual-interface": list(
    INTERFACES,
    "interfaces of virtual machines in the pod: what comes in by them is outbound traffic",
  ),
  "capture-dns": choice(
    ["off", "servers", "all"],
    undefined,
    "answer queries from the resolvers of --dns: those to --dns-server, or those to any address",
    "off",
  ),
  "dns-server": list(
    ADDRESSES,
    "whose queries --capture-dns servers takes",
    `the name servers in ${RESOLV_CONF}`,
  ),
  "dns-port": whole(undefined, "port of the listeners for queries, UDP and TCP", `${SIDECAR_DNS_PORT}`),
  "drop-invalid": toggle(
    "drop packets that conntrack cannot place on their way in, instead of resetting for them",
  ),
});

type SidecarValues = FlagValues<typeof SIDECAR_FLAGS>;

/** The sidecar that the flags describe. */
export function sidecarConfig(values: SidecarValues): SidecarConfig {
  return {
    inbound: values.inbound ?? DEFAULT_SIDECAR.inbound,
    inboundPort: values["inbound-port"] ?? DEFAULT_SIDECAR.inboundPort,
    inboundPorts: { include: values["inbound-ports"], exclude: values["exclude-inbound-ports"] },
    outboundPorts: values["outbound-ports"],
    proxyUids: values["proxy-uid"],
    proxyGids: values["proxy-gid"],
    excludeInterfaces: values["exclude-interface"],
    virtualInterfaces: values["virtual-interface"],
    dns: sidecarDns(values),
    dropInvalid: values["drop-invalid"],
  };
}

function sidecarDns(values: SidecarValues): SidecarDnsConfig | null {
  const capture = values["capture-dns"] ?? "off";
  if (capture === "off") return null;
  const named = values["dns-server"];
  return {
    port: values["dns-port"] ?? SIDECAR_DNS_PORT,
    servers: capture === "all" ? "all" : named.length > 0 ? named : "system",
  };
}

/** What flags of every mode say of the outbound listener. */
interface OutboundValues {
  readonly sidecar: boolean;
  readonly tcp: TcpMode | undefined;
  readonly port: number | undefined;
}

/** What is wrong with the flags that the configuration made of them no longer shows. */
export function* checkSidecarFlags(values: SidecarValues & OutboundValues): Generator<ConfigIssue> {
  if (!values.sidecar) {
    for (const name of Object.keys(SIDECAR_FLAGS) as (keyof SidecarValues)[]) {
      if (isGiven(values[name])) yield { path: `--${name}`, found: "set", wanted: "--sidecar with it" };
    }
    return;
  }
  if (values["inbound-port"] !== undefined && values.inbound === "off") {
    yield { path: "--inbound-port", found: "set, and --inbound off", wanted: "one or the other" };
  }
  if (values.port !== undefined && values.tcp === "off") {
    yield {
      path: "--port",
      found: "set, and --tcp off",
      wanted: "one or the other",
      hint: "it is the outbound listener's; --inbound-port and --dns-port are the others'",
    };
  }
  const capture = values["capture-dns"] ?? "off";
  if (values["dns-server"].length > 0 && capture !== "servers") {
    yield {
      path: "--dns-server",
      found: `set, and --capture-dns ${capture}`,
      wanted: "--capture-dns servers",
    };
  }
  if (values["dns-port"] !== undefined && capture === "off") {
    yield { path: "--dns-port", found: "set, and --capture-dns off", wanted: "--capture-dns servers or all" };
  }
}

function isGiven(value: SidecarValues[keyof SidecarValues]): boolean {
  return Array.isArray(value) ? value.length > 0 : value !== undefined && value !== false;
}
