/**
 * Opening the lab's UDP sockets, with every option that a test may want to see the kernel or the proxy by.
 *
 * @module
 */
import {
  AF_INET,
  AF_INET6,
  checked,
  decodeSockaddr,
  encodeSockaddr,
  IP_MTU_DISCOVER,
  IP_PKTINFO,
  IP_RECVERR,
  IP_RECVORIGDSTADDR,
  IP_RECVTOS,
  IP_TOS,
  IP_TRANSPARENT,
  IPPROTO_UDP,
  IPV6_MTU_DISCOVER,
  IPV6_RECVERR,
  IPV6_RECVFRAGSIZE,
  IPV6_RECVORIGDSTADDR,
  IPV6_RECVTCLASS,
  IPV6_TCLASS,
  IPV6_TRANSPARENT,
  IPV6_V6ONLY,
  SO_MARK,
  SO_RCVMARK,
  SO_REUSEADDR,
  SOCK_CLOEXEC,
  SOCK_DGRAM,
  SOCK_RAW,
  SOCKADDR_IN6_BYTES,
  sockaddrLength,
  SOL_IP,
  SOL_IPV6,
  SOL_SOCKET,
  SOL_UDP,
  UDP_GRO,
} from "../../ffi/mod.ts";
import { formatEndpoint, parseEndpoint } from "../../net/mod.ts";
import { type DatagramDescriptor, type DatagramMessages, IP_RECVFRAGSIZE } from "./datagram_message.ts";

// linux/in.h, linux/in6.h
const IP_FREEBIND = 15;
const IPV6_FREEBIND = 78;
const IPV6_CHECKSUM = 7;
const IPV6_RECVPKTINFO = 49;
/** Where the checksum is in a UDP header. */
const CHECKSUM_AT = 6;
/** Values of IP_MTU_DISCOVER and IPV6_MTU_DISCOVER (ip(7)). */
const DISCOVER = { dont: 0, want: 1, do: 2, probe: 3 } as const;

/** A socket's options; either `from` or `to` says of which family it is. */
export interface DatagramSocketOptions {
  /** `ip:port` to bind to; port 0 for one that is free. */
  readonly from?: string;
  /** `ip:port` to connect to. */
  readonly to?: string;
  /** Of every datagram that does not say otherwise. */
  readonly tos?: number;
  /**
   * Don't-fragment: `want` as the kernel does by itself (set while the datagram fits), `do` and `probe` always,
   * `probe` without heeding what was learned of the path; `dont` never.
   */
  readonly discover?: keyof typeof DISCOVER;
  /** IP_RECVERR: errors are queued with what they quote; else a call fails with their number. Default true. */
  readonly queueErrors?: boolean;
  /** UDP_GRO: super-packets arrive as they are. */
  readonly segments?: boolean;
  readonly reuseAddress?: boolean;
  /** May answer from any address that is routed here, also from those of a whole prefix. */
  readonly freebind?: boolean;
  /** May be bound to addresses that this host does not have. */
  readonly transparent?: boolean;
  /** SOCK_RAW for UDP: the payload begins with the UDP header. */
  readonly raw?: boolean;
  readonly mark?: number;
  /** Tell each packet's mark. */
  readonly receiveMark?: boolean;
  /** Tell the address and port that each datagram was sent to. */
  readonly receiveDestination?: boolean;
  /** Tell the size of the largest fragment. */
  readonly receiveFragment?: boolean;
}

/** An open socket. Sends block while its buffer is full; receiving never does. */
export interface DatagramSocket extends DatagramDescriptor {
  readonly local: string;
}

/** @throws {SyscallError} as the calls do, EADDRINUSE for instance. */
export function openDatagramSocket(
  messages: DatagramMessages,
  options: DatagramSocketOptions,
): DatagramSocket {
  const { sys, name, value } = messages;
  const endpoint = parseEndpoint(options.from ?? options.to ?? "");
  if (endpoint === undefined) {
    throw new TypeError(`datagram socket: no endpoint in ${JSON.stringify(options)}`);
  }
  const isV4 = endpoint.address.family === 4;
  const type = (options.raw === true ? SOCK_RAW : SOCK_DGRAM) | SOCK_CLOEXEC;
  const fd = checked("socket", sys.socket(isV4 ? AF_INET : AF_INET6, type, IPPROTO_UDP));
  const set = (level: number, option: number, setting: number | boolean | undefined) => {
    if (setting === undefined || setting === false) return;
    value.words[0] = Number(setting);
    checked("setsockopt", sys.setsockopt(fd, level, option, value.pointer, 4), `${level} ${option}`);
  };
  try {
    const setIp = (v4: number, v6: number, setting: number | boolean | undefined) =>
      set(isV4 ? SOL_IP : SOL_IPV6, isV4 ? v4 : v6, setting);
    if (!isV4) {
      if (options.raw === true) set(SOL_IPV6, IPV6_CHECKSUM, CHECKSUM_AT);
      else set(SOL_IPV6, IPV6_V6ONLY, true);
    }
    setIp(IP_RECVTOS, IPV6_RECVTCLASS, true);
    setIp(IP_PKTINFO, IPV6_RECVPKTINFO, true);
    setIp(IP_RECVERR, IPV6_RECVERR, options.queueErrors ?? true);
    setIp(IP_TOS, IPV6_TCLASS, options.tos);
    setIp(IP_TRANSPARENT, IPV6_TRANSPARENT, options.transparent);
    setIp(IP_RECVORIGDSTADDR, IPV6_RECVORIGDSTADDR, options.receiveDestination);
    setIp(IP_RECVFRAGSIZE, IPV6_RECVFRAGSIZE, options.receiveFragment);
    setIp(IP_FREEBIND, IPV6_FREEBIND, options.freebind);
    const discover = options.discover === undefined ? undefined : DISCOVER[options.discover];
    setIp(IP_MTU_DISCOVER, IPV6_MTU_DISCOVER, discover);
    set(SOL_UDP, UDP_GRO, options.segments);
    set(SOL_SOCKET, SO_REUSEADDR, options.reuseAddress);
    set(SOL_SOCKET, SO_MARK, options.mark);
    set(SOL_SOCKET, SO_RCVMARK, options.receiveMark);
    for (const [call, text] of [["bind", options.from], ["connect", options.to]] as const) {
      if (text === undefined) continue;
      const length = encodeSockaddr(parseEndpoint(text)!, name.bytes);
      checked(call, sys[call](fd, name.pointer, length), text);
    }
    value.words[0] = SOCKADDR_IN6_BYTES;
    checked("getsockname", sys.getsockname(fd, name.pointer, value.pointer));
    return {
      fd,
      isV4,
      local: formatEndpoint(decodeSockaddr(name.bytes.slice(0, sockaddrLength(name.bytes)))!),
    };
  } catch (error) {
    sys.close(fd);
    throw error;
  }
}
