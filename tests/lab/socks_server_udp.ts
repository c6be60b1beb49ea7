/**
 * A SOCKS5 server that relays datagrams (RFC 1928, UDP ASSOCIATE), on the reactor of whoever runs it. What any remote
 * sends to an association's outward port goes to its client, as behind a full cone. A test has it misbehave.
 *
 * @module
 */
import {
  type Arena,
  type Block,
  checked,
  EAGAIN,
  encodeSockaddr,
  EPOLLIN,
  type EventHandler,
  MSG_NOSIGNAL,
  type Reactor,
  SO_LINGER,
  SO_RCVBUF,
  SO_RCVBUFFORCE,
  SOCK_CLOEXEC,
  SOCK_NONBLOCK,
  SOCK_STREAM,
  SOCKADDR_IN6_BYTES,
  sockaddrFamily,
  SocketFactory,
  SOL_SOCKET,
  type Syscalls,
} from "../../ffi/mod.ts";
import {
  addressBytes,
  addressFromBytes,
  type Endpoint,
  formatEndpoint,
  parseAddress,
  parseEndpoint,
} from "../../net/mod.ts";
import { DatagramMessages } from "./datagram_message.ts";
import { type DatagramSocket, openDatagramSocket } from "./datagram_socket.ts";

const BUFFER_BYTES = 4096, RECEIVE_BUFFER_BYTES = 4 << 20;
const VERSION = 5, ASSOCIATE = 3, IPV4 = 1, IPV6 = 4;
const NO_AUTH = 0, USERNAME_PASSWORD = 2, NO_METHOD = 0xff, REFUSED = 5;

/** Where it listens, and how it behaves. */
export interface SocksUdpSpec {
  /** Address of the server, and of its relays; both ports are free ones. */
  readonly address: string;
  /** Mark of what it sends to remotes. */
  readonly mark: number;
  readonly credentials?: { readonly username: string; readonly password: string };
  /** What it says its relay's address is; its own, if absent. */
  readonly advertise?: string;
  /** Another port than the relay's, or undefined. */
  readonly advertisePort?: number;
  /** Answers no request until told to. */
  readonly holds?: boolean;
  /** The reply code for every request; 0, which succeeds, if absent. */
  readonly reply?: number;
}

/** A server and its associations. */
export class SocksUdpServer implements EventHandler {
  /** `ip:port`. */
  readonly endpoint: Endpoint;
  readonly associations: Association[] = [];
  /** Requests that it has had. */
  requests = 0;
  /** What clients sent in one piece, as far as it had come when it was first read: bytes of each. */
  readonly firstReads: number[] = [];
  readonly sys: Syscalls;
  readonly reactor: Reactor;
  readonly messages = new DatagramMessages();
  readonly buffer: Block;
  spec: SocksUdpSpec;
  #listener: number;
  readonly #name: Block;

  constructor(
    { sys, arena, reactor }: { sys: Syscalls; arena: Arena; reactor: Reactor },
    spec: SocksUdpSpec,
  ) {
    this.sys = sys;
    this.reactor = reactor;
    this.spec = spec;
    this.buffer = arena.allocate(BUFFER_BYTES);
    this.#name = arena.allocate(SOCKADDR_IN6_BYTES);
    const address = parseAddress(spec.address)!;
    encodeSockaddr({ address, port: 0 }, this.#name.bytes);
    const socket = new SocketFactory(sys, arena).open(sockaddrFamily(this.#name.bytes), SOCK_STREAM);
    socket.bind({ address, port: 0 });
    socket.listen(64);
    this.endpoint = socket.localEndpoint();
    this.#listener = socket.release();
    checked("epoll_ctl", reactor.add(this.#listener, EPOLLIN, this));
  }

  onEvents(): void {
    for (;;) {
      const fd = this.sys.accept4(this.#listener, null, null, SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (fd < 0) return;
      this.associations.push(new Association(this, fd));
    }
  }

  /** Answers the requests that were held, and those to come. */
  release(): void {
    this.spec = { ...this.spec, holds: false };
    for (const association of this.associations) association.proceed();
  }

  /** Dies: nobody listens any more, and every association is cut off. */
  close(): void {
    if (this.#listener < 0) return;
    this.reactor.forget(this.#listener);
    this.sys.close(this.#listener);
    this.#listener = -1;
    for (const association of this.associations) association.close();
  }
}

/** One client's connection, and the relay that goes with it. */
export class Association implements EventHandler {
  /** Endpoints that the client's datagrams were for, in order. */
  readonly carried: string[] = [];
  isOpen = true;
  readonly #server: SocksUdpServer;
  readonly #fd: number;
  readonly #heard: number[] = [];
  #stage: "greeting" | "password" | "request" | "open" = "greeting";
  #isFirst = true;
  #relay: DatagramSocket | undefined;
  readonly #outward = new Map<4 | 6, DatagramSocket>();
  /** Where the client sends from. */
  #client: string | undefined;

  constructor(server: SocksUdpServer, fd: number) {
    this.#server = server;
    this.#fd = fd;
    checked("epoll_ctl", server.reactor.add(fd, EPOLLIN, this));
  }

  onEvents(): void {
    const { sys, buffer } = this.#server;
    for (;;) {
      const n = sys.recv(this.#fd, buffer.pointer, BUFFER_BYTES, 0);
      if (n === -EAGAIN) break;
      if (n <= 0) return this.close();
      if (this.#isFirst) this.#server.firstReads.push(n);
      this.#isFirst = false;
      this.#heard.push(...buffer.bytes.subarray(0, n));
    }
    this.proceed();
  }

  /** Answers what has been heard, as far as the server does. */
  proceed(): void {
    while (this.isOpen && this.#step());
  }

  /** The client's connection ends, by a reset if so wished, and the relay with it. */
  close(resets = false): void {
    if (!this.isOpen) return;
    this.isOpen = false;
    const { reactor, sys, buffer } = this.#server;
    if (resets) {
      buffer.words.set([1, 0]);
      sys.setsockopt(this.#fd, SOL_SOCKET, SO_LINGER, buffer.pointer, 8);
    }
    reactor.forget(this.#fd);
    sys.close(this.#fd);
    this.closeRelay();
  }

  /** Nobody is at the relay's port any more, though the connection lasts. */
  closeRelay(): void {
    const { reactor, sys } = this.#server;
    for (const socket of [this.#relay, ...this.#outward.values()]) {
      if (socket === undefined) continue;
      reactor.forget(socket.fd);
      sys.close(socket.fd);
    }
    this.#relay = undefined;
    this.#outward.clear();
  }

  /**
   * Sends the client a datagram as it is.
   *
   * @param segment bytes of each datagram, where it is several that leave as one message.
   */
  inject(bytes: Uint8Array, segment?: number): void {
    const { messages } = this.#server;
    messages.payload.bytes.set(bytes);
    messages.send(this.#relay!, bytes.length, { to: this.#client, segment });
  }

  /** Where remotes see the client. */
  outwardAt(family: 4 | 6): string {
    return this.#openOutward(family).local;
  }

  /** Where the client's datagrams come from. */
  get client(): string | undefined {
    return this.#client;
  }

  #step(): boolean {
    switch (this.#stage) {
      case "greeting":
        return this.#greet();
      case "password":
        return this.#checkPassword();
      case "request":
        return this.#answerRequest();
      case "open":
        return false;
    }
  }

  #greet(): boolean {
    const [, count] = this.#heard;
    if (count === undefined || this.#heard.length < 2 + count) return false;
    const methods = this.#heard.splice(0, 2 + count).slice(2);
    const wanted = this.#server.spec.credentials === undefined ? NO_AUTH : USERNAME_PASSWORD;
    if (!methods.includes(wanted)) {
      this.#say([VERSION, NO_METHOD]);
      this.close();
      return false;
    }
    this.#say([VERSION, wanted]);
    this.#stage = wanted === NO_AUTH ? "request" : "password";
    return true;
  }

  #checkPassword(): boolean {
    const nameLength = this.#heard[1] ?? Infinity;
    const passwordLength = this.#heard[2 + nameLength] ?? Infinity;
    if (this.#heard.length < 3 + nameLength + passwordLength) return false;
    const said = this.#heard.splice(0, 3 + nameLength + passwordLength);
    const text = (from: number, length: number) =>
      new TextDecoder().decode(Uint8Array.from(said.slice(from, from + length)));
    const { username, password } = this.#server.spec.credentials!;
    const isRight = text(2, nameLength) === username && text(3 + nameLength, passwordLength) === password;
    this.#say([1, isRight ? 0 : 1]);
    if (!isRight) this.close();
    this.#stage = "request";
    return isRight;
  }

  #answerRequest(): boolean {
    const { spec } = this.#server;
    const kind = this.#heard[3];
    const length = kind === IPV4 ? 10 : kind === IPV6 ? 22 : Infinity;
    if (this.#heard.length < length || spec.holds === true) return false;
    const [, command] = this.#heard.splice(0, length);
    this.#server.requests++;
    const reply = command === ASSOCIATE ? spec.reply ?? 0 : REFUSED;
    if (reply !== 0) {
      this.#say([VERSION, reply, 0, IPV4, 0, 0, 0, 0, 0, 0]);
      this.close();
      return false;
    }
    const address = parseAddress(spec.address)!;
    this.#relay = this.#open(formatEndpoint({ address, port: 0 }), () => this.#relayUp(), 0);
    const { port } = parseEndpoint(this.#relay.local)!;
    this.#say([VERSION, 0, 0, ...encode(spec.advertise ?? spec.address, spec.advertisePort ?? port)]);
    this.#stage = "open";
    return false;
  }

  #relayUp(): void {
    const { messages } = this.#server;
    while (this.#relay !== undefined) {
      const message = messages.receive(this.#relay.fd);
      if (typeof message === "number") return;
      const data = messages.payload.bytes.slice(0, message.bytes);
      const isV4 = data[3] === IPV4, header = isV4 ? 10 : 22;
      if (data[2] !== 0 || data.length < header) continue;
      this.#client = message.from;
      const address = addressFromBytes(data.slice(4, header - 2));
      const to = formatEndpoint({ address, port: data[header - 2]! << 8 | data[header - 1]! });
      this.carried.push(to);
      messages.payload.bytes.set(data.subarray(header));
      messages.send(this.#openOutward(isV4 ? 4 : 6), data.length - header, { to, tos: message.tos });
    }
  }

  #relayDown(socket: DatagramSocket): void {
    const { messages } = this.#server;
    for (;;) {
      const message = messages.receive(socket.fd);
      if (typeof message === "number") return;
      const { address, port } = parseEndpoint(message.from)!;
      const data = messages.payload.bytes.slice(0, message.bytes);
      this.inject(Uint8Array.from([0, 0, 0, ...encode(address.text, port), ...data]));
    }
  }

  #openOutward(family: 4 | 6): DatagramSocket {
    let socket = this.#outward.get(family);
    if (socket === undefined) {
      const own = parseAddress(this.#server.spec.address)!;
      const any = parseAddress(family === 4 ? "0.0.0.0" : "::")!;
      const from = formatEndpoint({ address: own.family === family ? own : any, port: 0 });
      socket = this.#open(from, (opened) => this.#relayDown(opened), this.#server.spec.mark);
      this.#outward.set(family, socket);
    }
    return socket;
  }

  #open(from: string, onReadable: (socket: DatagramSocket) => void, mark: number): DatagramSocket {
    const { reactor, messages, sys, buffer } = this.#server;
    const options = { from, queueErrors: false, ...(mark === 0 ? {} : { mark }) };
    const socket = openDatagramSocket(messages, options);
    buffer.words[0] = RECEIVE_BUFFER_BYTES;
    for (const name of [SO_RCVBUF, SO_RCVBUFFORCE]) {
      sys.setsockopt(socket.fd, SOL_SOCKET, name, buffer.pointer, 4);
    }
    checked("epoll_ctl", reactor.add(socket.fd, EPOLLIN, { onEvents: () => onReadable(socket) }));
    return socket;
  }

  #say(bytes: readonly number[]): void {
    const { sys, buffer } = this.#server;
    buffer.bytes.set(bytes);
    sys.send(this.#fd, buffer.pointer, bytes.length, MSG_NOSIGNAL);
  }
}

/** Kind of address, address, port. */
function encode(address: string, port: number): number[] {
  const bytes = addressBytes(parseAddress(address)!);
  return [bytes.length === 4 ? IPV4 : IPV6, ...bytes, port >> 8, port & 0xff];
}
