/**
 * Keeps a condition that lasts from filling the log: one line a kind and a second, with how many were left out.
 *
 * @module
 */
import type { DnsWarning } from "../dns/mod.ts";
import type { Reactor } from "../ffi/mod.ts";
import type { TcpWarning } from "../tcp/mod.ts";
import type { UdpWarning } from "../udp/mod.ts";
import type { PolicyWarning } from "./policy_router.ts";
import type { FromWorker } from "./protocol.ts";

const INTERVAL_MS = 1000;

type Warning = TcpWarning | UdpWarning | DnsWarning | PolicyWarning;

const HINTS: Readonly<Record<Warning, string>> = {
  "loop": "let programs dial their destination; the rules bring the connection here",
  "connection-limit": "raise --max-connections, if memory and file descriptors allow",
  "client-limit": "raise --max-connections-per-client, or look at what that client does",
  "fds-exhausted": "raise the hard limit of open files (ulimit -Hn, LimitNOFILE=) or lower --max-connections",
  "accept-error": "see accept(2) for the error",
  "source-address": "give it to lo in the pod: ip -6 address add ::6/128 dev lo",
  "upstream-failed": "see whether that upstream's server runs, and whether it takes our name and password",
  "udp-loop": "let programs write to their destination; the rules bring the datagrams here",
  "session-limit": "raise --max-sessions, if file descriptors allow, or look at who sends from so many ports",
  "session-client-limit": "raise --max-sessions-per-client, or look at what that client does",
  "udp-fds-exhausted":
    "raise the hard limit of open files (ulimit -Hn, LimitNOFILE=) or lower --max-sessions",
  "reply-port-taken":
    "another program of this host has that port on every address; bind it to one address, if it " +
    "can be told to",
  "icmp-unavailable": "grant CAP_NET_RAW, or clients wait for their own timeouts where a server is not there",
  "udp-upstream-failed":
    "see whether that upstream's server runs, takes our name and password, and relays UDP",
  "udp-truncated": "this is a fault of the program",
  "udp-error": "see udp(7) for the error",
  "dns-resolver-down":
    "see whether that resolver runs and lets this host ask; the other ones are asked meanwhile",
  "dns-limit": "the resolvers are too slow for so many queries; name more or nearer ones with --dns",
  "dns-fds-exhausted": "raise the hard limit of open files (ulimit -Hn, LimitNOFILE=)",
  "dns-error": "see udp(7) for the error",
  "policy-error": "mend the module; `pellucid reload` takes it anew",
  "policy-late": "let the module look things up in memory, and prepare at its top what takes time",
  "policy-paused": "let the module look things up in memory, and prepare at its top what takes time",
  "policy-unavailable": "mend the module; `pellucid reload` takes it anew",
};

/** Sends warnings to the control plane, not too many. */
export class WarningLimiter {
  readonly #reactor: Pick<Reactor, "now">;
  readonly #send: (message: FromWorker) => void;
  readonly #recent = new Map<Warning, { sentAt: number; leftOut: number }>();

  constructor(reactor: Pick<Reactor, "now">, send: (message: FromWorker) => void) {
    this.#reactor = reactor;
    this.#send = send;
  }

  warn(warning: Warning, detail: string): void {
    const last = this.#recent.get(warning);
    if (last !== undefined && this.#reactor.now - last.sentAt < INTERVAL_MS) {
      last.leftOut++;
      return;
    }
    const leftOut = last?.leftOut ?? 0;
    this.#recent.set(warning, { sentAt: this.#reactor.now, leftOut: 0 });
    const message = leftOut === 0 ? detail : `${detail} (and ${leftOut} more times since the last line)`;
    this.#send({ kind: "warning", event: warning, message, hint: HINTS[warning] });
  }
}
