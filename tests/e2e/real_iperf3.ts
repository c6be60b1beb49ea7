/**
 * iperf3 -u: a stream of datagrams in either direction, beside the TCP connection on which both ends agree about it.
 *
 * @module
 */
import { assert, assertEquals } from "../assert.ts";
import { GATEWAY_LAB, type LabHost } from "../lab/mod.ts";
import { BOTH_FAMILIES, type RealClient, type RealProgram } from "./real_program.ts";

const PORT = 5201;
/** Bits a second: what a socket's buffer holds bridges a sixth of a second, so that loss is not a busy machine's. */
const RATE = "5M";
const DATAGRAMS = 300;
const DATAGRAM_BYTES = 1_200;

/** A server for control connection and datagrams on one port number. */
export const IPERF3: RealProgram = {
  name: "iperf3",
  needs: { iperf3: "iperf3" },
  start: (host) => {
    // Each on its address: iperf3 does not see to it that datagrams leave from the address that was asked.
    const { v4, v6 } = GATEWAY_LAB.servers;
    const server = `iperf3 --server --port ${PORT} --bind`;
    return Promise.resolve(host.spawn(["sh", "-c", `${server} ${v4} & exec ${server} ${v6}`]));
  },
  listens: { proto: "tcp", port: PORT },
  clients: [streaming("iperf3 -u, up", []), streaming("iperf3 -u, down", ["--reverse"])],
};

function streaming(name: string, direction: readonly string[]): RealClient {
  const isDown = direction.length > 0;
  return {
    name,
    families: BOTH_FAMILIES,
    use: (host, address) => stream(host, address, direction),
    flows: [
      { proto: "tcp", port: PORT },
      { proto: "udp", port: PORT, bytesDown: isDown ? DATAGRAMS * DATAGRAM_BYTES : 1 },
    ],
  };
}

interface Report {
  readonly error?: string;
  readonly end: { readonly sum: { readonly packets: number; readonly lost_packets: number } };
}

async function stream(host: LabHost, address: string, direction: readonly string[]): Promise<string> {
  const argv = ["iperf3", "--client", address, "--port", `${PORT}`, "--udp", "--bitrate", RATE, "--json"];
  const size = ["--length", `${DATAGRAM_BYTES}`, "--bytes", `${DATAGRAMS * DATAGRAM_BYTES}`];
  const { stdout, stderr } = await host.run([...argv, ...size, ...direction]);
  const { error, end } = JSON.parse(stdout) as Report;
  assertEquals(error, undefined, stderr);
  const { packets, lost_packets: lost } = end.sum;
  assert(packets >= DATAGRAMS, `${packets} datagrams, wanted ${DATAGRAMS}`);
  assertEquals(lost, 0, `lost of ${packets} datagrams`);
  return "nothing lost";
}
