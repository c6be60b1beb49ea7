/**
 * A gateway that sends what it is told to: ICMP errors and raw replies. Prints one line of JSON with what each
 * action returned, and keeps its sockets until its standard input ends.
 *
 * @module
 */
import { Arena, encodeSockaddr, openSyscalls, SOCKADDR_IN6_BYTES } from "../../ffi/mod.ts";
import { parseEndpoint } from "../../net/mod.ts";
import type { IcmpError, QuotedDatagram } from "../../udp/icmp_error.ts";
import { IcmpSender } from "../../udp/icmp_sender.ts";
import { RawReply } from "../../udp/raw_reply.ts";

/** Endpoints of the datagram in question, and its payload: bytes that count up. */
interface About {
  readonly client: string;
  readonly remote: string;
  readonly bytes: number;
}

/** What to do. */
export type UdpErrorAction =
  | { readonly do: "unreachable"; readonly errno: number } & About
  | { readonly do: "tooBig"; readonly mtu: number } & About
  | { readonly do: "relay"; readonly error: IcmpError; readonly offender: string } & About
  | { readonly do: "reply"; readonly tos: number } & About;

const MARK = 0x0300_0000;
const HOLD_MS = 20_000;

if (import.meta.main) {
  const actions: UdpErrorAction[] = JSON.parse(Deno.args[0]!);
  const sys = openSyscalls(), arena = new Arena(128 * 1024);
  const payload = arena.allocate(65_536);
  for (let i = 0; i < payload.length; i++) payload.bytes[i] = i;
  const icmp = new IcmpSender(sys, arena, {
    mark: MARK,
    now: () => performance.now(),
    onUnavailable: (detail) => console.log(detail),
    onSuppressed: () => console.log("suppressed"),
  });
  const raw = new RawReply(sys, arena, MARK);
  const perform = (action: UdpErrorAction): boolean | number => {
    const [client, remote] = [sockaddr(action.client), sockaddr(action.remote)];
    const about: QuotedDatagram = {
      client,
      remote,
      offset: payload.offset,
      length: action.bytes,
      sentLength: action.bytes,
    };
    switch (action.do) {
      case "unreachable":
        return icmp.unreachable(action.errno, about);
      case "tooBig":
        return icmp.tooBig(action.mtu, about);
      case "relay":
        return icmp.relay(action.error, sockaddr(action.offender), about);
      case "reply":
        return raw.send(client, remote, payload.offset, action.bytes, action.tos);
    }
  };
  console.log(JSON.stringify(actions.map(perform)));
  const timer = setTimeout(() => Deno.exit(1), HOLD_MS);
  await Deno.stdin.read(new Uint8Array(1));
  clearTimeout(timer);
  icmp.close();
  raw.close();
}

function sockaddr(endpoint: string): Uint8Array {
  const bytes = new Uint8Array(SOCKADDR_IN6_BYTES);
  encodeSockaddr(parseEndpoint(endpoint)!, bytes);
  return bytes;
}
