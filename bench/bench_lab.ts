/**
 * The hosts a benchmark runs in: client – gateway – internet, joined by veth pairs. Each contestant has a lab of
 * its own, so that all of them can be up at the same time and none inherits another's TIME_WAIT sockets.
 *
 * @module
 */
import { Lab, type LabHost } from "../tests/lab/mod.ts";
import { type CpuPlacement, steeringSysctls } from "./cpu_placement.ts";

/** The gateway's interface towards the client. */
export const LAN_INTERFACE = "lan0";
/** Its interface towards the servers. */
export const WAN_INTERFACE = "wan0";
/** First of the addresses that only the internet host has. */
export const SERVER_ADDRESS = "198.51.100.1";
/** So many addresses, from the first on, can be dialled: all of the prefix but its ends. */
export const SERVER_ADDRESSES = 64;
/** Another address of the internet host. */
export const OTHER_ADDRESS = "203.0.113.2";
/** First of 2,000 addresses that the client has beside its own. */
export const CLIENT_ADDRESSES = "198.18.8.1";
/** The internet host's network namespace, as processes in the lab can open it. */
export const INTERNET_NETNS = "/run/netns/internet";

/**
 * What the gateway passes on. For what a relay is to carry it forwards nothing, so that nothing else can carry it:
 * rules that miss a connection show as a failure and not as a fast relay.
 */
export type Forwarding = "all" | "all but UDP" | "nothing";

/** What differs between contestants. */
export interface BenchLabOptions {
  readonly forwards: Forwarding;
  readonly placement: CpuPlacement | undefined;
  /** CPUs of the gateway. */
  readonly gatewayCpus: string;
}

const NO_UDP = `table inet bench_forwarding {
  chain forward { type filter hook forward priority filter; meta l4proto udp drop; }
}`;

/** Client, gateway and internet, IPv4. */
export async function startBenchLab({ forwards, placement, gatewayCpus }: BenchLabOptions): Promise<Lab> {
  const lab = await Lab.start({
    hosts: {
      client: {
        addresses: [`${CLIENT_ADDRESSES}/21`],
        routes: [{ to: "default", via: "192.0.2.1" }],
      },
      gateway: {
        forwarding: forwards !== "nothing",
        routes: [{ to: "default", via: OTHER_ADDRESS }, { to: "198.18.8.0/21", via: "192.0.2.2" }],
        sysctls: steeringSysctls(placement, gatewayCpus),
      },
      internet: {
        // An address on lo makes its whole prefix local.
        addresses: [`${SERVER_ADDRESS}/24`],
        routes: [{ to: "default", via: "203.0.113.1" }],
      },
    },
    links: [
      {
        ends: [
          { host: "client", interface: "eth0", addresses: ["192.0.2.2/24"] },
          { host: "gateway", interface: LAN_INTERFACE, addresses: ["192.0.2.1/24"] },
        ],
      },
      {
        ends: [
          { host: "gateway", interface: WAN_INTERFACE, addresses: ["203.0.113.1/24"] },
          { host: "internet", interface: "eth0", addresses: [`${OTHER_ADDRESS}/24`] },
        ],
      },
    ],
  });
  if (forwards === "all but UDP") await forwardNoUdp(lab.host("gateway"));
  return lab;
}

/** From now on `gateway` drops every datagram that it would have to pass on. */
export async function forwardNoUdp(gateway: LabHost): Promise<void> {
  await gateway.output(["nft", "-f", "-"], { stdin: NO_UDP });
}
