/**
 * Ending a connection of Deno's with a RST, which Deno has no call for.
 *
 * SO_LINGER with a time of zero will not do: when Deno closes a connection it shuts its sending half down first, so a
 * FIN leaves before the RST. connect() to AF_UNSPEC, which dissolves a TCP association, sends the RST alone. Deno does
 * not tell the file descriptor either, so it is found among ours by its two addresses.
 *
 * @module
 */
import { addressFromBytes } from "../../net/address.ts";
import { formatEndpoint } from "../../net/endpoint.ts";

const AF_INET = 2;

type Libc = Deno.DynamicLibrary<typeof SYMBOLS>;

const SYMBOLS = {
  // int getsockname(int fd, struct sockaddr *addr, socklen_t *len)
  getsockname: { parameters: ["i32", "buffer", "buffer"], result: "i32" },
  // int getpeername(int fd, struct sockaddr *addr, socklen_t *len)
  getpeername: { parameters: ["i32", "buffer", "buffer"], result: "i32" },
  // int connect(int fd, const struct sockaddr *addr, socklen_t len)
  connect: { parameters: ["i32", "buffer", "u32"], result: "i32" },
} as const;

let libc: Libc | undefined;

/** Closes `connection` with a RST; when the other side has reset it already, there is nothing left to reset. */
export function closeWithReset(connection: Deno.TcpConn): void {
  libc ??= Deno.dlopen("libc.so.6", SYMBOLS);
  const fd = findDescriptor(libc, netAddrText(connection.localAddr), netAddrText(connection.remoteAddr));
  // A sockaddr of zeros: sa_family is AF_UNSPEC.
  if (fd !== undefined && libc.symbols.connect(fd, new Uint8Array(16), 16) !== 0) {
    throw new Error(`descriptor ${fd}: connect to AF_UNSPEC was refused`);
  }
  connection.close();
}

/** Undefined: no socket of ours is connected like this any more. */
function findDescriptor(libc: Libc, local: string, peer: string): number | undefined {
  for (const entry of Deno.readDirSync("/proc/self/fd")) {
    const fd = Number(entry.name);
    if (socketAddress(libc.symbols.getpeername, fd) !== peer) continue;
    if (socketAddress(libc.symbols.getsockname, fd) === local) return fd;
  }
  return undefined;
}

/** The address as Deno writes it, or undefined when the descriptor has none. */
function socketAddress(call: Libc["symbols"]["getsockname"], fd: number): string | undefined {
  const bytes = new Uint8Array(28);
  if (call(fd, bytes, new Uint32Array([bytes.length])) !== 0) return undefined;
  const view = new DataView(bytes.buffer);
  const isV4 = new Uint16Array(bytes.buffer, 0, 1)[0] === AF_INET;
  const address = addressFromBytes(isV4 ? bytes.subarray(4, 8) : bytes.subarray(8, 24));
  return formatEndpoint({ address, port: view.getUint16(2) });
}

function netAddrText(address: Deno.NetAddr): string {
  return address.hostname.includes(":")
    ? `[${address.hostname}]:${address.port}`
    : `${address.hostname}:${address.port}`;
}
