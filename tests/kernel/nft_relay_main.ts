/**
 * A relay as small as the rules need to be tried on: accepts on a transparent listener, connects on, copies.
 *
 * The product's data plane is not used, so that a failure here is the rules' alone.
 *
 * @module
 */
import net from "node:net";
import {
  AF_INET,
  AF_INET6,
  Arena,
  openSyscalls,
  setDualStack,
  setReuseAddress,
  setTransparent,
  SO_MARK,
  SOCK_STREAM,
  SocketFactory,
  SOL_SOCKET,
} from "../../ffi/mod.ts";
import { encodeSockaddr, SOCKADDR_IN6_BYTES } from "../../ffi/mod.ts";
import {
  ANY_V6,
  type Endpoint,
  formatEndpoint,
  parseAddress,
  parseEndpoint,
  unmapV4,
} from "../../net/mod.ts";

/** From the test, as JSON in the first argument. */
export interface RelayOptions {
  readonly port: number;
  /** Connect on from the client's address and port, the address alone, or an address of our own. */
  readonly keep: "endpoint" | "address" | "none";
  /** SO_MARK towards the destination. */
  readonly mark: number;
  /** Where to connect on to; absent: to the accepted socket's own address, as TPROXY has it. */
  readonly destination?: Readonly<Record<4 | 6, string>>;
}

const CONNECT_ATTEMPTS = 500;

if (import.meta.main) listen(JSON.parse(Deno.args[0]!));

function listen(options: RelayOptions): void {
  const arena = new Arena(4096);
  const sys = openSyscalls();
  const sockets = new SocketFactory(sys, arena);
  const remote = arena.allocate(SOCKADDR_IN6_BYTES);

  const listener = sockets.open(AF_INET6, SOCK_STREAM);
  setReuseAddress(listener);
  setDualStack(listener);
  setTransparent(listener, 6);
  listener.bind({ address: ANY_V6, port: options.port });
  listener.listen(128);

  const server = net.createServer({ allowHalfOpen: true }, async (client) => {
    client.on("error", () => {});
    const local = endpoint(client.localAddress, client.localPort);
    const peer = endpoint(client.remoteAddress, client.remotePort);
    console.log(JSON.stringify({ local: formatEndpoint(local), peer: formatEndpoint(peer) }));
    const destination = options.destination === undefined
      ? local
      : parseEndpoint(options.destination[local.address.family])!;
    const fd = await connect(destination, peer);
    if (fd < 0) {
      client.destroy();
      return;
    }
    const upstream = new net.Socket({ fd, allowHalfOpen: true });
    upstream.on("error", () => client.destroy());
    client.pipe(upstream);
    upstream.pipe(client);
  });
  server.listen({ fd: listener.release() }, () => console.log("listening"));

  async function connect(destination: Endpoint, client: Endpoint): Promise<number> {
    const family = destination.address.family;
    const socket = sockets.open(family === 4 ? AF_INET : AF_INET6, SOCK_STREAM);
    socket.setInt(SOL_SOCKET, SO_MARK, options.mark, "SO_MARK");
    if (options.keep !== "none") {
      setTransparent(socket, family);
      setReuseAddress(socket);
      socket.bind(options.keep === "endpoint" ? client : { ...client, port: 0 });
    }
    const length = encodeSockaddr(destination, remote.bytes);
    for (let attempt = 0; attempt < CONNECT_ATTEMPTS; attempt++) {
      // Asked again, connect(2) of a socket on its way says EALREADY until it has arrived: then 0 or EISCONN.
      const result = sys.connect(socket.fd, remote.pointer, length);
      if (result === 0 || result === -EISCONN) return socket.release();
      if (result !== -EINPROGRESS && result !== -EALREADY) break;
      await new Promise((resolve) => setTimeout(resolve, 5));
      encodeSockaddr(destination, remote.bytes);
    }
    socket[Symbol.dispose]();
    return -1;
  }
}

const EISCONN = 106, EALREADY = 114, EINPROGRESS = 115;

function endpoint(address: string | undefined, port: number | undefined): Endpoint {
  return { address: unmapV4(parseAddress(address!)!), port: port! };
}
