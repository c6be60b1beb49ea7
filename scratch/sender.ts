/**
 * The program in a scratch namespace: listens where our proxy would, and sends packets byte for byte as it is told.
 *
 * One JSON {@linkcode Order} a line on standard input, one line back: `done`, or what failed. It ends with its
 * input. The listeners take nothing: a TPROXY rule looks for them, and that is all they are for.
 *
 * @module
 */
import {
  AF_INET,
  AF_INET6,
  AF_PACKET,
  Arena,
  checked,
  encodeSockaddr,
  IPPROTO_RAW,
  openSyscalls,
  setDualStack,
  setReuseAddress,
  setTransparent,
  SO_MARK,
  SOCK_CLOEXEC,
  SOCK_DGRAM,
  SOCK_RAW,
  SOCK_STREAM,
  SOCKADDR_IN6_BYTES,
  Socket,
  SocketFactory,
  SOL_SOCKET,
} from "../ffi/mod.ts";
import { ANY_V6, parseAddress } from "../net/mod.ts";
import type { Order } from "./order.ts";

/** Carries out the orders on standard input until that ends. */
export async function runSender(): Promise<void> {
  const sender = new Sender();
  let rest = "";
  for await (const chunk of Deno.stdin.readable.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + chunk).split("\n");
    rest = lines.pop()!;
    for (const line of lines) console.log(carryOut(sender, JSON.parse(line)));
  }
}

function carryOut(sender: Sender, order: Order): string {
  try {
    sender.obey(order);
    return "done";
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/** sizeof(struct sockaddr_ll); the interface's index is at 4. */
const SOCKADDR_LL_BYTES = 20;
const BACKLOG = 8;
const FRAME_BYTES = 2048;

class Sender {
  readonly #arena = new Arena(16 * 1024);
  readonly #sys = openSyscalls();
  readonly #sockets = new SocketFactory(this.#sys, this.#arena);
  readonly #address = this.#arena.allocate(SOCKADDR_IN6_BYTES);
  readonly #packet = this.#arena.allocate(FRAME_BYTES);

  obey(order: Order): void {
    switch (order.do) {
      case "listen":
        for (const port of order.ports) this.#listen(port);
        return;
      case "frame":
        return this.#sendFrame(order.interfaceIndex, order.bytes);
      case "send":
        return this.#send(order);
    }
  }

  /** Open until the process ends: nobody else in the namespace wants the port. */
  #listen(port: number): void {
    for (const type of [SOCK_STREAM, SOCK_DGRAM]) {
      const socket = this.#sockets.open(AF_INET6, type);
      setReuseAddress(socket);
      setTransparent(socket, 6);
      setDualStack(socket);
      socket.bind({ address: ANY_V6, port });
      if (type === SOCK_STREAM) socket.listen(BACKLOG);
      socket.release();
    }
  }

  #sendFrame(interfaceIndex: number, hex: string): void {
    const fd = checked("socket", this.#sys.socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0));
    using _socket = new Socket(this.#sockets, fd);
    this.#address.bytes.fill(0);
    this.#address.words[0] = AF_PACKET;
    this.#address.words[1] = interfaceIndex;
    checked("bind", this.#sys.bind(fd, this.#address.pointer, SOCKADDR_LL_BYTES));
    this.#write(fd, hex);
  }

  #send({ bytes, destination, mark, uid, gid }: Extract<Order, { do: "send" }>): void {
    const address = parseAddress(destination)!;
    const domain = address.family === 4 ? AF_INET : AF_INET6;
    // A socket belongs to the thread's file-system ids, which change without giving up any capability over networks.
    this.#become(uid, gid);
    let fd: number;
    try {
      fd = checked("socket", this.#sys.socket(domain, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW));
    } finally {
      this.#sys.setfsgid(0);
      this.#sys.setfsuid(0);
    }
    using socket = new Socket(this.#sockets, fd);
    if (mark !== 0) socket.setInt(SOL_SOCKET, SO_MARK, mark | 0, "SO_MARK");
    // With the header given, this only says where to.
    const length = encodeSockaddr({ address, port: 0 }, this.#address.bytes);
    checked("connect", this.#sys.connect(fd, this.#address.pointer, length));
    this.#write(fd, bytes);
  }

  #become(uid: number, gid: number): void {
    this.#sys.setfsgid(gid);
    this.#sys.setfsuid(uid);
    // They never fail, they only do nothing; asked for an id that cannot be, they tell what is.
    const [hasUid, hasGid] = [this.#sys.setfsuid(0xffffffff) >>> 0, this.#sys.setfsgid(0xffffffff) >>> 0];
    if (hasUid === uid && hasGid === gid) return;
    this.#sys.setfsgid(0);
    this.#sys.setfsuid(0);
    throw new Error(
      `nobody here may be uid ${uid}, gid ${gid}: only root's scratch namespaces have other users`,
    );
  }

  #write(fd: number, hex: string): void {
    const bytes = Uint8Array.fromHex(hex);
    this.#packet.bytes.set(bytes);
    checked("send", this.#sys.send(fd, this.#packet.pointer, bytes.length, 0));
  }
}
