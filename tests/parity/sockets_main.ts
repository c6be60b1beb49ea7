/**
 * The sockets of a proxy without the proxy, inside a lab host: listeners on every address of both families, and
 * connections that nobody has opened.
 *
 * Each line of standard input is a {@linkcode SocketsCommand}; one line answers it.
 *
 * @module
 */
import {
  AF_INET,
  AF_INET6,
  Arena,
  checked,
  encodeSockaddr,
  IP_TRANSPARENT,
  openSyscalls,
  setDualStack,
  setReuseAddress,
  setTransparent,
  SO_MARK,
  SOCK_DGRAM,
  SOCK_STREAM,
  type Socket,
  SocketFactory,
  SOL_IP,
  SOL_SOCKET,
  SOL_TCP,
} from "../../ffi/mod.ts";
import { ANY_V6, parseEndpoint } from "../../net/mod.ts";
import { answerLines } from "./lines.ts";

/** A line from the test. */
export type SocketsCommand =
  | { readonly do: "listen"; readonly listeners: readonly Listener[] }
  | { readonly do: "connect"; readonly connections: readonly Connection[] }
  /** Closes all. */
  | { readonly do: "close" };

/** IP_TRANSPARENT, on `port` of every address. */
export interface Listener {
  readonly protocol: "tcp" | "udp";
  readonly port: number;
  readonly mark: number;
}

/** `local` and `remote` are endpoints in text; no packet is sent. */
export interface Connection {
  readonly protocol: "tcp" | "udp";
  readonly local: string;
  readonly remote: string;
  readonly transparent: boolean;
  readonly mark: number;
}

// netinet/tcp.h
const TCP_REPAIR = 19;
const BACKLOG = 4096;

class ProxySockets {
  readonly #factory = new SocketFactory(openSyscalls(), new Arena(4096));
  readonly #open: Socket[] = [];

  /** @returns how many sockets are open. */
  obey(command: SocketsCommand): number {
    if (command.do === "listen") { for (const listener of command.listeners) this.#listen(listener); }
    else if (command.do === "connect") { for (const wanted of command.connections) this.#connect(wanted); }
    else for (const socket of this.#open.splice(0)) socket[Symbol.dispose]();
    return this.#open.length;
  }

  #listen({ protocol, port, mark }: Listener): void {
    const socket = this.#socket(AF_INET6, protocol, mark);
    setDualStack(socket);
    setTransparent(socket, 6);
    socket.bind({ address: ANY_V6, port });
    if (protocol === "tcp") socket.listen(BACKLOG);
  }

  /** TCP_REPAIR makes an established connection of connect(2) without a packet. */
  #connect({ protocol, local, remote, transparent, mark }: Connection): void {
    const from = parseEndpoint(local)!, to = parseEndpoint(remote)!;
    const { family } = from.address;
    const socket = this.#socket(family === 4 ? AF_INET : AF_INET6, protocol, mark);
    setTransparent(socket, family);
    if (protocol === "tcp") socket.setInt(SOL_TCP, TCP_REPAIR, 1, "TCP_REPAIR");
    socket.bind(from);
    const { sys, address } = this.#factory;
    const length = encodeSockaddr(to, address.bytes);
    checked("connect", sys.connect(socket.fd, address.pointer, length), remote);
    // Without it the socket could not have been given another host's address; it keeps it.
    if (!transparent) socket.setInt(SOL_IP, IP_TRANSPARENT, 0, "IP_TRANSPARENT");
  }

  #socket(family: number, protocol: "tcp" | "udp", mark: number): Socket {
    const socket = this.#factory.open(family, protocol === "tcp" ? SOCK_STREAM : SOCK_DGRAM);
    this.#open.push(socket);
    socket.setInt(SOL_SOCKET, SO_MARK, mark, "SO_MARK");
    setReuseAddress(socket);
    return socket;
  }
}

if (import.meta.main) {
  const sockets = new ProxySockets();
  await answerLines((command: SocketsCommand) => sockets.obey(command));
}
