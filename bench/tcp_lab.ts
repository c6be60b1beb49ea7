/**
 * The hosts a TCP benchmark runs in: client – gateway – internet, joined by veth pairs. Each contestant has a lab of
 * its own, so that all of them can be up at the same time and none inherits another's TIME_WAIT sockets.
 *
 * @module
 */
import { Lab } from "../tests/lab/mod.ts";
import { type CpuPlacement, steeringSysctls } from "./cpu_placement.ts";

/** The gateway's interface towards the client. */
export const LAN_INTERFACE = "lan0";
/** First of the addresses that only the internet host has. */
export const SERVER_ADDRESS = "198.51.100.1";
/** So many addresses, from the first on, can be dialled: all of the prefix but its ends. */
export const SERVER_ADDRESSES = 64;

/** What differs between contestants. */
export interface TcpLabOptions {
  /**
   * The gateway passes packets on. For a relay it does not, so that nothing but the relay can carry bytes: rules
   * that miss a connection show as a failure and not as a fast relay.
   */
  readonly forwards: boolean;
  readonly placement: CpuPlacement | undefined;
  /** CPUs of the gateway. */
  readonly gatewayCpus: string;
}

/** Client, gateway and internet, IPv4. */
export function startTcpLab({ forwards, placement, gatewayCpus }: TcpLabOptions): Promise<Lab> {
  return Lab.start({
    hosts: {
      client: { routes: [{ to: "default", via: "192.0.2.1" }] },
      gateway: {
        forwarding: forwards,
        routes: [{ to: "default", via: "203.0.113.2" }],
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
          { host: "gateway", interface: "wan0", addresses: ["203.0.113.1/24"] },
          { host: "internet", interface: "eth0", addresses: ["203.0.113.2/24"] },
        ],
      },
    ],
  });
}
