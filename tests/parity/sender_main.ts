/**
 * Sends packets in bursts, inside a lab host: frames out of an interface, or the host's own packets with a mark.
 *
 * Each line of standard input is a {@linkcode SenderCommand}; one line answers it. Batches are loaded beforehand, so
 * that sending one costs a system call a packet and nothing else.
 *
 * @module
 */
import {
  AF_INET,
  AF_INET6,
  Arena,
  type Block,
  checked,
  EPERM,
  IPPROTO_RAW,
  openSyscalls,
  SO_MARK,
  SOCK_CLOEXEC,
  SOCK_RAW,
  SOL_SOCKET,
  type Syscalls,
} from "../../ffi/mod.ts";
import { answerLines } from "./lines.ts";

/** A line from the test. */
export type SenderCommand =
  | { readonly do: "load"; readonly batch: string; readonly packets: readonly Outgoing[] }
  | { readonly do: "send"; readonly batch: string };

/** `bytes` in base64: with an interface an Ethernet frame, else a packet from its IP header on. */
export interface Outgoing {
  readonly bytes: string;
  readonly via: { readonly interface: string } | { readonly mark: number };
}

// linux/if_packet.h, linux/sockios.h, asm-generic/socket.h
const AF_PACKET = 17, SIOCGIFINDEX = 0x8933, SO_BROADCAST = 6;
const SOCKADDR_LL_BYTES = 20;
/** Link-local and multicast destinations of IPv6 need an interface. */
const SCOPE_INTERFACE = "wan0";

interface Loaded {
  readonly fd: number;
  readonly bytes: Uint8Array;
  /** sockaddr of the destination; empty for frames. */
  readonly name: Uint8Array;
  readonly mark: number | undefined;
}

class Sender {
  readonly #sys: Syscalls;
  readonly #arena = new Arena(8192);
  readonly #payload: Block;
  readonly #name: Block;
  readonly #value: Block;
  readonly #message: Block;
  readonly #vector: Block;
  readonly #sockets = new Map<string, number>();
  readonly #batches = new Map<string, Loaded[]>();

  constructor() {
    this.#sys = openSyscalls();
    this.#payload = this.#arena.allocate(2048);
    this.#name = this.#arena.allocate(64);
    this.#value = this.#arena.allocate(64);
    this.#vector = this.#arena.allocate(16);
    // struct msghdr: name, namelen, iov, iovlen, control, controllen, flags.
    this.#message = this.#arena.allocate(56);
    this.#writePointer(this.#message, 0, this.#name.offset);
    this.#writePointer(this.#message, 16, this.#vector.offset);
    this.#message.words[6] = 1;
    this.#writePointer(this.#vector, 0, this.#payload.offset);
  }

  /** @returns how many packets were loaded or sent. */
  obey(command: SenderCommand): number {
    if (command.do === "load") {
      const batch = command.packets.map((packet) => this.#load(packet));
      this.#batches.set(command.batch, batch);
      return batch.length;
    }
    const batch = this.#batches.get(command.batch);
    if (batch === undefined) throw new RangeError(`sender: no batch "${command.batch}"`);
    for (const [i, packet] of batch.entries()) this.#send(packet, i);
    return batch.length;
  }

  #load({ bytes: text, via }: Outgoing): Loaded {
    const bytes = Uint8Array.fromBase64(text);
    if ("interface" in via) {
      return { fd: this.#linkSocket(via.interface), bytes, name: new Uint8Array(0), mark: undefined };
    }
    const isV4 = bytes[0]! >> 4 === 4;
    return {
      fd: this.#ownSocket(isV4),
      bytes,
      name: isV4 ? nameV4(bytes) : nameV6(bytes, this.#interfaceIndex(SCOPE_INTERFACE)),
      mark: via.mark,
    };
  }

  #send({ fd, bytes, name, mark }: Loaded, position: number): void {
    if (mark !== undefined) {
      this.#value.words[0] = mark;
      checked("setsockopt", this.#sys.setsockopt(fd, SOL_SOCKET, SO_MARK, this.#value.pointer, 4), "SO_MARK");
    }
    this.#payload.bytes.set(bytes);
    this.#name.bytes.set(name);
    this.#message.words[2] = name.length;
    this.#vector.words[2] = bytes.length;
    const sent = this.#sys.sendmsg(fd, this.#message.pointer, 0);
    // A packet that a rule of ours drops at output is sent with EPERM.
    if (sent < 0 && sent !== -EPERM) checked("sendmsg", sent, `packet ${position} of the batch`);
  }

  #linkSocket(name: string): number {
    return this.#socket(name, () => {
      const fd = checked("socket", this.#sys.socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0));
      const address = this.#name.bytes;
      address.fill(0);
      address[0] = AF_PACKET;
      const index = this.#interfaceIndex(name);
      new DataView(address.buffer, address.byteOffset).setInt32(4, index, true);
      checked("bind", this.#sys.bind(fd, this.#name.pointer, SOCKADDR_LL_BYTES), name);
      return fd;
    });
  }

  /** Which takes packets with their IP header, as IPPROTO_RAW says of itself. */
  #ownSocket(isV4: boolean): number {
    return this.#socket(isV4 ? "own4" : "own6", () => {
      const family = isV4 ? AF_INET : AF_INET6;
      const fd = checked("socket", this.#sys.socket(family, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW));
      this.#value.words[0] = 1;
      const broadcast = this.#sys.setsockopt(fd, SOL_SOCKET, SO_BROADCAST, this.#value.pointer, 4);
      checked("setsockopt", broadcast, "SO_BROADCAST");
      return fd;
    });
  }

  #socket(key: string, open: () => number): number {
    const fd = this.#sockets.get(key) ?? open();
    this.#sockets.set(key, fd);
    return fd;
  }

  #interfaceIndex(name: string): number {
    const fd = checked("socket", this.#sys.socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW));
    const request = this.#payload;
    request.bytes.fill(0, 0, 40);
    new TextEncoder().encodeInto(name, request.bytes);
    const result = this.#sys.ioctl(fd, SIOCGIFINDEX, request.pointer);
    this.#sys.close(fd);
    checked("ioctl", result, `SIOCGIFINDEX ${name}`);
    return request.words[4]!;
  }

  #writePointer(block: Block, at: number, offset: number): void {
    block.words[at >> 2] = this.#arena.addressLow(offset);
    block.words[(at >> 2) + 1] = this.#arena.addressHigh;
  }
}

function nameV4(packet: Uint8Array): Uint8Array {
  const name = new Uint8Array(16);
  name[0] = AF_INET;
  name.set(packet.subarray(16, 20), 4);
  return name;
}

function nameV6(packet: Uint8Array, scope: number): Uint8Array {
  const name = new Uint8Array(28);
  name[0] = AF_INET6;
  name.set(packet.subarray(24, 40), 8);
  const isScoped = packet[24] === 0xff || packet[24] === 0xfe && packet[25]! >> 6 === 2;
  if (isScoped) new DataView(name.buffer).setUint32(24, scope, true);
  return name;
}

if (import.meta.main) {
  const sender = new Sender();
  await answerLines((command: SenderCommand) => sender.obey(command));
}
