/**
 * iperf3: a stream of datagrams or of bytes in either direction, beside the TCP connection on which both ends agree
 * about it.
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
const STREAM_BYTES = 10_000_000;
/** Slow enough that no relay on the way holds much of it. */
const STREAM_RATE = "200M";

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

/** The same server, and streams of bytes. */
export const IPERF3_TCP: RealProgram = {
  ...IPERF3,
  clients: [streamingBytes("iperf3, up", []), streamingBytes("iperf3, down", ["--reverse"])],
};

function streamingBytes(name: string, direction: readonly string[]): RealClient {
  const isDown = direction.length > 0;
  return {
    name,
    families: BOTH_FAMILIES,
    use: (host, address) => streamBytes(host, address, direction),
    flows: [
      { proto: "tcp", port: PORT },
      // A stream upwards is answered on the other connection alone.
      { proto: "tcp", port: PORT, bytesDown: isDown ? STREAM_BYTES / 2 : 0 },
    ],
  };
}

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
  readonly end: {
    readonly sum: { readonly packets: number; readonly lost_packets: number };
    readonly sum_received: { readonly bytes: number };
  };
}

async function report(host: LabHost, address: string, args: readonly string[]): Promise<Report["end"]> {
  const argv = ["iperf3", "--client", address, "--port", `${PORT}`, "--json", ...args];
  const { stdout, stderr } = await host.run(argv);
  const { error, end } = JSON.parse(stdout) as Report;
  assertEquals(error, undefined, stderr);
  return end;
}

async function streamBytes(host: LabHost, address: string, direction: readonly string[]): Promise<string> {
  const size = ["--bytes", `${STREAM_BYTES}`, "--bitrate", STREAM_RATE];
  const { bytes } = (await report(host, address, [...size, ...direction])).sum_received;
  // When the sender is done, it says so on the other connection, and what is still under way is not waited for.
  assert(bytes >= STREAM_BYTES / 2, `${bytes} bytes, wanted most of ${STREAM_BYTES}`);
  return "most is there";
}

async function stream(host: LabHost, address: string, direction: readonly string[]): Promise<string> {
  const size = ["--length", `${DATAGRAM_BYTES}`, "--bytes", `${DATAGRAMS * DATAGRAM_BYTES}`];
  const { sum } = await report(host, address, ["--udp", "--bitrate", RATE, ...size, ...direction]);
  const { packets, lost_packets: lost } = sum;
  assert(packets >= DATAGRAMS, `${packets} datagrams, wanted ${DATAGRAMS}`);
  assertEquals(lost, 0, `lost of ${packets} datagrams`);
  return "nothing lost";
}
