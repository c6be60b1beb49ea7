/**
 * Whether a sidecar's settings make sense, and fit the rest of the configuration.
 *
 * @module
 */
import { parseAddress } from "../net/mod.ts";
import { ACCOUNTS, checkFilter, checkValues, INTERFACES, PORTS } from "./check_filter.ts";
import { checkWhole } from "./check_value.ts";
import type { ConfigIssue } from "./config_error.ts";
import { SELECTOR_PATHS } from "./check_selectors.ts";
import type { RunConfig } from "./run_config.ts";
import type { SidecarConfig, SidecarDnsConfig } from "./sidecar_config.ts";

/** Every issue; none where there is no sidecar. */
export function* checkSidecar(config: RunConfig): Generator<ConfigIssue> {
  const { sidecar } = config;
  if (sidecar === null) return;
  yield* checkAgainstModes(config, sidecar);
  yield* checkInbound(sidecar);
  yield* checkOutbound(config, sidecar);
  yield* checkValues("--proxy-uid", sidecar.proxyUids, ACCOUNTS);
  yield* checkValues("--proxy-gid", sidecar.proxyGids, ACCOUNTS);
  yield* checkInterfaces(config, sidecar);
  if (sidecar.dns !== null) yield* checkDnsCapture(sidecar.dns);
  yield* checkListeners(config, sidecar);
}

function* checkAgainstModes(config: RunConfig, { inbound, dns }: SidecarConfig): Generator<ConfigIssue> {
  const others = [...(config.from.length > 0 ? ["--from"] : []), ...(config.local ? ["--local"] : [])];
  for (const other of others) {
    yield {
      path: `--sidecar, ${other}`,
      found: "both",
      wanted: "one of them",
      hint: "a sidecar takes its pod's traffic and nothing else",
    };
  }
  if (config.tcp === "tproxy") {
    yield {
      path: "--tcp, --sidecar",
      found: "tproxy",
      wanted: "redirect, or off to leave outbound connections alone",
      hint: "outbound is taken by NAT; --inbound tproxy is for the other direction",
    };
  }
  if (config.udp !== "off") {
    yield {
      path: "--udp, --sidecar",
      found: config.udp,
      wanted: "off",
      hint: "of UDP a sidecar takes DNS alone, with --capture-dns",
    };
  }
  if (config.source === "keep" && inbound !== "tproxy") {
    yield {
      path: "--source, --inbound",
      found: `keep and ${inbound}`,
      wanted: "--inbound tproxy",
      hint: "only TPROXY leaves a way for the pod's answers to a client's address",
    };
  }
  if (config.tcp === "off" && inbound === "off" && dns === null) {
    yield {
      path: "--tcp, --inbound, --capture-dns",
      found: "all off",
      wanted: "one of them on",
      hint: "otherwise there is nothing to intercept",
    };
  }
}

function* checkInbound({ inbound, inboundPorts }: SidecarConfig): Generator<ConfigIssue> {
  const paths = { include: "--inbound-ports", exclude: "--exclude-inbound-ports" };
  yield* checkFilter(paths, inboundPorts, PORTS);
  if (inbound !== "off") return;
  for (const side of ["include", "exclude"] as const) {
    if (inboundPorts[side].length > 0) {
      yield { path: paths[side], found: "set, and --inbound off", wanted: "one or the other" };
    }
  }
}

function* checkOutbound(
  { tcp, select }: RunConfig,
  { outboundPorts }: SidecarConfig,
): Generator<ConfigIssue> {
  yield* checkFilter(
    { include: "--outbound-ports", exclude: SELECTOR_PATHS.tcpPorts.exclude },
    // What is wrong with the excluded ones has been said.
    { include: outboundPorts, exclude: select.tcpPorts.exclude.filter(PORTS.isSound) },
    PORTS,
  );
  if (tcp === "off" && outboundPorts.length > 0) {
    yield { path: "--outbound-ports", found: "set, and --tcp off", wanted: "one or the other" };
  }
}

function* checkInterfaces(
  { tcp }: RunConfig,
  { excludeInterfaces, virtualInterfaces }: SidecarConfig,
): Generator<ConfigIssue> {
  yield* checkFilter(
    { include: "--virtual-interface", exclude: "--exclude-interface" },
    { include: virtualInterfaces, exclude: excludeInterfaces },
    INTERFACES,
  );
  if (tcp === "off" && virtualInterfaces.length > 0) {
    yield { path: "--virtual-interface", found: "set, and --tcp off", wanted: "one or the other" };
  }
  if (virtualInterfaces.includes("lo")) {
    yield {
      path: "--virtual-interface",
      found: "lo",
      wanted: "another interface",
      hint: "what the pod's own programs send is outbound traffic anyway",
    };
  }
}

function* checkDnsCapture({ servers }: SidecarDnsConfig): Generator<ConfigIssue> {
  if (typeof servers === "string") return;
  if (servers.length === 0) {
    yield { path: "--dns-server", found: "none", wanted: "at least one, or --capture-dns all" };
  }
  for (const [i, server] of servers.entries()) {
    const address = parseAddress(server);
    if (address?.text !== server || server === "0.0.0.0" || server === "::") {
      yield {
        path: "--dns-server",
        found: JSON.stringify(server),
        wanted: "the IP address of a name server",
      };
    } else if (servers.indexOf(server) < i) {
      yield { path: "--dns-server", found: `${server} twice`, wanted: "each name server once" };
    }
  }
}

/** Each listener that is opened needs a port of its own, on every address. */
function* checkListeners({ tcp, port }: RunConfig, sidecar: SidecarConfig): Generator<ConfigIssue> {
  const { inbound, inboundPort, dns } = sidecar;
  yield* checkWhole("--inbound-port", inboundPort, 1, 65_535);
  if (dns !== null) yield* checkWhole("--dns-port", dns.port, 1, 65_535);
  const listeners: (readonly [path: string, port: number])[] = [
    ...(tcp === "off" ? [] : [["--port", port] as const]),
    ...(inbound === "off" ? [] : [["--inbound-port", inboundPort] as const]),
    ...(dns === null ? [] : [["--dns-port", dns.port] as const]),
  ];
  for (const [i, [path, port]] of listeners.entries()) {
    const before = listeners.slice(0, i).find(([, other]) => other === port);
    if (before === undefined) continue;
    yield { path: `${before[0]}, ${path}`, found: `${port} twice`, wanted: "a port for each" };
  }
}
