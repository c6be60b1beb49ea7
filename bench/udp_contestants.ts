/**
 * Who carries UDP: plain forwarding, the reference, Pellucid, and shadowsocks-libev as far as it can.
 *
 * @module
 */
import { type Contestant, type RelaySpec, waitUntil } from "./contestant.ts";
import {
  beside,
  FORWARDING,
  pellucid,
  pellucidRelay,
  probeCompiler,
  versionOf,
  waitForReadyLine,
} from "./contestants.ts";
import { RELAY_PORT } from "./interception.ts";
import { isBound } from "./process_usage.ts";

/** The name of the contestant that the others are compared with. */
export const UDP_REFERENCE = "c-udp";

/**
 * Sessions that a relay may have, where it can be told: more than rest in `idle`, fewer than the ports in
 * `sessions`, so that there each new one is at the expense of the oldest and its port is free when it comes again.
 */
const SESSION_LIMIT = 10_000;
/** New client ports of `sessions`, in turn. */
export const CLIENT_PORTS = 12_000;

const REFERENCE_RELAY: RelaySpec = {
  bringsRules: false,
  command: ({ native }) =>
    Promise.resolve([native.udp_relay, "--port", `${RELAY_PORT}`, "--sessions", `${SESSION_LIMIT}`]),
  ready: waitForReadyLine,
};

/** There is no unencrypted method any more; this is the fastest where the CPU has AES instructions. */
const SHADOWSOCKS = [
  "-s",
  "127.0.0.1",
  "-p",
  "8388",
  "-k",
  "benchmark",
  "-m",
  "aes-128-gcm",
  "-U",
  "-t",
  "300",
];
const REDIR = ["-b", "0.0.0.0", "-l", `${RELAY_PORT}`];

/** All of them, in the order of the columns. */
export const UDP_CONTESTANTS: readonly Contestant[] = [
  FORWARDING,
  {
    name: UDP_REFERENCE,
    title: "C reference",
    threads: 1,
    probe: probeCompiler,
    relay: REFERENCE_RELAY,
    withTcp: {
      ...REFERENCE_RELAY,
      command: async (site) =>
        beside([site.native.relay, "--port", `${RELAY_PORT}`], await REFERENCE_RELAY.command(site)),
    },
  },
  pellucidUdp(1),
  pellucidUdp(2),
  {
    name: "ss-redir",
    title: "ss-redir with ss-server",
    threads: 1,
    probe: () => versionOf("ss-redir", ["-h"], /shadowsocks-libev (\S+)/),
    // Seen: of 2,000 bytes none arrived; of 9,000 sessions ss-redir kept 256 sockets; and its answers are tracked as
    // anybody's are, so that the first one of an unknown remote makes the client's next datagram look like an answer.
    limits: { largestDatagram: 1472, sessions: 256, fullCone: false },
    relay: {
      bringsRules: false,
      command: () =>
        Promise.resolve(beside(["ss-server", ...SHADOWSOCKS], ["ss-redir", ...SHADOWSOCKS, ...REDIR])),
      ready: (process) => waitUntil(process, (pid) => isBound(pid, "udp", RELAY_PORT)),
    },
  },
];

function pellucidUdp(workers: number): Contestant {
  // deno-fmt-ignore
  const flags = [
    "--udp", "tproxy", "--max-sessions", `${SESSION_LIMIT}`, "--max-sessions-per-client", `${SESSION_LIMIT}`,
  ];
  return {
    ...pellucid(workers, [...flags, "--tcp", "off"]),
    withTcp: pellucidRelay(workers, [...flags, "--tcp", "tproxy"]),
  };
}
