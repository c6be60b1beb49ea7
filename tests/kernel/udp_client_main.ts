/**
 * A UDP client that looks at what its kernel tells it: datagrams with source and TOS, errors, the error queue, the
 * path's MTU. Prints `open`, then, when it has seen enough or 5 s have passed, one line of JSON.
 *
 * @module
 */
import {
  AF_INET,
  AF_INET6,
  Arena,
  type Block,
  checked,
  CmsgIterator,
  decodeSockaddr,
  EAGAIN,
  encodeSockaddr,
  errnoName,
  IP_MTU_DISCOVER,
  IP_PMTUDISC_DO,
  IP_RECVERR,
  IP_RECVTOS,
  IPV6_MTU_DISCOVER,
  IPV6_RECVERR,
  IPV6_RECVTCLASS,
  MSG_DONTWAIT,
  openSyscalls,
  SOCK_CLOEXEC,
  SOCK_DGRAM,
  SOCKADDR_IN6_BYTES,
  SOL_IP,
  SOL_IPV6,
} from "../../ffi/mod.ts";
import { formatEndpoint, parseEndpoint } from "../../net/mod.ts";
import { ErrorQueue } from "../../udp/error_queue.ts";
import { Message } from "../../udp/message.ts";

/** From the test, as JSON in the first argument. */
export interface UdpClientOptions {
  readonly local: string;
  readonly remote: string;
  /** Whether the socket is connected to `remote`. */
  readonly connected: boolean;
  /** IP_RECVERR. */
  readonly receiveErrors: boolean;
  /** IP_PMTUDISC_DO. */
  readonly dontFragment: boolean;
  /** Bytes of a datagram to `remote`, sent first; its bytes count up. */
  readonly sendBytes?: number;
  /** Ends after so many datagrams, errors of recv and entries of the error queue, all counted. */
  readonly enough: number;
}

/** What it saw. */
export interface UdpClientResult {
  readonly datagrams: readonly {
    readonly source: string;
    readonly length: number;
    /** Whether its bytes count up. */
    readonly whole: boolean;
    readonly tos: number;
  }[];
  /** Of recv. */
  readonly errors: readonly string[];
  readonly entries: readonly {
    readonly errno: string;
    readonly origin: number;
    readonly type: number;
    readonly code: number;
    readonly info: number;
    readonly destination: string | undefined;
    readonly offender: string | undefined;
    readonly quoted: number;
    readonly whole: boolean;
  }[];
  /** IP_MTU or IPV6_MTU in the end, of a connected socket. */
  readonly mtu: number | undefined;
  /** What became of the datagram of `sendBytes` when it was sent a second time in the end. */
  readonly sentAgain: string;
  /** Entries of the error queue after that. */
  readonly entriesAgain: UdpClientResult["entries"];
}

const LIMIT_MS = 5_000, POLL_MS = 5;
const IP_MTU = 14, IPV6_MTU = 24;

if (import.meta.main) {
  const options: UdpClientOptions = JSON.parse(Deno.args[0]!);
  console.log(JSON.stringify(await observe(options)));
}

async function observe(options: UdpClientOptions): Promise<UdpClientResult> {
  const sys = openSyscalls(), arena = new Arena(512 * 1024);
  const isV4 = !options.local.startsWith("[");
  const value = arena.allocate(4), length = arena.allocate(4), address = arena.allocate(SOCKADDR_IN6_BYTES);
  const payload = arena.allocate(65_536);
  const received = new Message(arena, 1, 256);
  const sent = new Message(arena, 1, 0);
  const queue = new ErrorQueue(sys, arena);

  const fd = checked("socket", sys.socket(isV4 ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  const setInt = (name4: number, name6: number, setting: number) => {
    value.words[0] = setting;
    const [level, name] = isV4 ? [SOL_IP, name4] : [SOL_IPV6, name6];
    checked("setsockopt", sys.setsockopt(fd, level, name, value.pointer, 4));
  };
  setInt(IP_RECVTOS, IPV6_RECVTCLASS, 1);
  if (options.receiveErrors) setInt(IP_RECVERR, IPV6_RECVERR, 1);
  if (options.dontFragment) setInt(IP_MTU_DISCOVER, IPV6_MTU_DISCOVER, IP_PMTUDISC_DO);
  const addressLength = encodeSockaddr(parseEndpoint(options.local)!, address.bytes);
  checked("bind", sys.bind(fd, address.pointer, addressLength));
  encodeSockaddr(parseEndpoint(options.remote)!, address.bytes);
  if (options.connected) checked("connect", sys.connect(fd, address.pointer, addressLength));

  const send = () => {
    for (let i = 0; i < payload.length; i++) payload.bytes[i] = i;
    encodeSockaddr(parseEndpoint(options.remote)!, sent.name.bytes);
    sent.setVector(0, payload.offset, options.sendBytes!);
    sent.setLengths(options.connected ? 0 : addressLength, 0);
    return sys.sendmsg(fd, sent.pointer, 0);
  };
  if (options.sendBytes !== undefined) checked("sendmsg", send());
  console.log("open");

  const result = {
    datagrams: [] as UdpClientResult["datagrams"][number][],
    errors: [] as string[],
    entries: [] as UdpClientResult["entries"][number][],
  };
  const cmsgs = new CmsgIterator(received.control);
  for (let waitedMs = 0; waitedMs < LIMIT_MS; waitedMs += POLL_MS) {
    if (options.receiveErrors) {
      while (queue.read(fd)) result.entries.push(entryOf(queue, arena));
    }
    received.setVector(0, payload.offset, payload.length);
    received.setLengths(SOCKADDR_IN6_BYTES, 256);
    const n = sys.recvmsg(fd, received.pointer, MSG_DONTWAIT);
    if (n >= 0) {
      cmsgs.start(0, received.controlLength);
      cmsgs.next();
      result.datagrams.push({
        source: endpointOf(received.name.bytes)!,
        length: n,
        whole: countsUp(payload.bytes.subarray(0, n)),
        tos: received.control.bytes[cmsgs.dataAt]!,
      });
    } else if (n !== -EAGAIN) result.errors.push(errnoName(-n));
    if (result.datagrams.length + result.errors.length + result.entries.length >= options.enough) break;
    if (n === -EAGAIN) await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
  const mtu = options.connected ? mtuOf(value, length) : undefined;
  const again = options.sendBytes === undefined ? 0 : send();
  const entriesAgain: UdpClientResult["entries"][number][] = [];
  while (options.receiveErrors && queue.read(fd)) entriesAgain.push(entryOf(queue, arena));
  return { ...result, mtu, sentAgain: again < 0 ? errnoName(-again) : "sent", entriesAgain };

  function mtuOf(value: Block, length: Block): number {
    length.words[0] = 4;
    const [level, name] = isV4 ? [SOL_IP, IP_MTU] : [SOL_IPV6, IPV6_MTU];
    checked("getsockopt", sys.getsockopt(fd, level, name, value.pointer, length.pointer));
    return value.words[0]!;
  }
}

function entryOf(queue: ErrorQueue, arena: Arena): UdpClientResult["entries"][number] {
  const quote = arena.bytes.subarray(queue.payloadOffset, queue.payloadOffset + queue.payloadLength);
  return {
    errno: errnoName(queue.errno),
    origin: queue.origin,
    type: queue.type,
    code: queue.code,
    info: queue.info,
    destination: endpointOf(queue.destination),
    offender: endpointOf(queue.offender),
    quoted: quote.length,
    whole: countsUp(quote),
  };
}

function endpointOf(bytes: Uint8Array): string | undefined {
  const endpoint = decodeSockaddr(bytes);
  return endpoint && formatEndpoint(endpoint);
}

function countsUp(bytes: Uint8Array): boolean {
  return bytes.every((byte, i) => byte === (i & 255));
}
