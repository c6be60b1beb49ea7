/**
 * A TCP client for what Deno's own cannot do: choosing the source port, urgent data. A program with blocking sockets:
 * `deno run -A raw_client_main.ts SPEC`, with SPEC a RawClientSpec as JSON; prints a RawClientResult.
 *
 * @module
 */
import {
  AF_INET,
  AF_INET6,
  Arena,
  checked,
  decodeSockaddr,
  encodeSockaddr,
  openSyscalls,
  SHUT_WR,
  SO_REUSEADDR,
  SOCK_STREAM,
  SOCKADDR_IN6_BYTES,
  SOL_SOCKET,
} from "../../ffi/mod.ts";
import { formatEndpoint, parseEndpoint } from "../../net/mod.ts";

/** One thing to do. */
export type RawStep =
  /** `urgent`: with MSG_OOB; of several bytes, the last one is the urgent one (tcp(7)). */
  | { readonly do: "send"; readonly text: string; readonly times?: number; readonly urgent?: boolean }
  /** Reads until so much has been received in all. */
  | { readonly do: "await-bytes"; readonly bytes: number }
  /** Prints a line, for the test to see how far the script is. */
  | { readonly do: "say"; readonly line: string }
  /** Waits for a line on standard input. */
  | { readonly do: "listen" };

/** One connection: the steps, then half-close, read to the end, close. */
export interface RawClientSpec {
  /** `ip:port` to bind to, with SO_REUSEADDR. */
  readonly from?: string;
  readonly to: string;
  readonly steps: readonly RawStep[];
}

/** What came of it. */
export interface RawClientResult {
  readonly local: string;
  readonly received: string;
  readonly connectMs: number;
}

const MSG_OOB = 0x1;
const BUFFER_BYTES = 64 * 1024;

if (import.meta.main) console.log(JSON.stringify(run(JSON.parse(Deno.args[0]!))));

function run(spec: RawClientSpec): RawClientResult {
  const sys = openSyscalls();
  const arena = new Arena(BUFFER_BYTES + 1024);
  const [one, name, length, buffer] = [
    arena.allocate(4),
    arena.allocate(SOCKADDR_IN6_BYTES),
    arena.allocate(4),
    arena.allocate(BUFFER_BYTES),
  ];
  const to = parseEndpoint(spec.to)!;
  const fd = checked("socket", sys.socket(to.address.family === 4 ? AF_INET : AF_INET6, SOCK_STREAM, 0));
  if (spec.from !== undefined) {
    one.words[0] = 1;
    checked("setsockopt", sys.setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, one.pointer, 4));
    checked("bind", sys.bind(fd, name.pointer, encodeSockaddr(parseEndpoint(spec.from)!, name.bytes)));
  }
  const startedAt = performance.now();
  checked("connect", sys.connect(fd, name.pointer, encodeSockaddr(to, name.bytes)));
  const connectMs = performance.now() - startedAt;
  length.words[0] = SOCKADDR_IN6_BYTES;
  checked("getsockname", sys.getsockname(fd, name.pointer, length.pointer));
  const local = formatEndpoint(decodeSockaddr(name.bytes)!);
  let received = "";
  const receive = () => {
    const n = checked("recv", sys.recv(fd, buffer.pointer, BUFFER_BYTES, 0));
    received += new TextDecoder().decode(buffer.bytes.subarray(0, n));
    return n;
  };
  for (const step of spec.steps) {
    if (step.do === "say") console.log(step.line);
    else if (step.do === "listen") Deno.stdin.readSync(new Uint8Array(1));
    else if (step.do === "await-bytes") { while (received.length < step.bytes && receive() > 0); }
    else {
      const { written } = new TextEncoder().encodeInto(step.text, buffer.bytes);
      for (let i = 0; i < (step.times ?? 1); i++) {
        checked("send", sys.send(fd, buffer.pointer, written, step.urgent === true ? MSG_OOB : 0));
      }
    }
  }
  sys.shutdown(fd, SHUT_WR);
  while (receive() > 0);
  sys.close(fd);
  return { local, received, connectMs };
}
