/**
 * Ways for flows to leave, as the user says it: names are not resolved, secrets not yet read.
 *
 * @module
 */

/** A secret, or where it is. Never printed. */
export type SecretConfig =
  | { readonly kind: "text"; readonly text: string }
  /** The whole file, without a newline at its end. */
  | { readonly kind: "file"; readonly path: string }
  /** A variable of the environment. */
  | { readonly kind: "env"; readonly name: string };

/** Who we say we are to a server (RFC 1929, RFC 7617). */
export interface CredentialsConfig {
  /** Of 1 to 255 bytes for SOCKS5, without a colon for HTTP. */
  readonly username: string;
  /** Of 1 to 255 bytes for SOCKS5. */
  readonly password: SecretConfig;
}

/** A server, by address or by name. */
export interface ServerConfig {
  /** An address, or a name that is resolved when the configuration is read (in a chain, by the hop before). */
  readonly host: string;
  /** 1 to 65535. */
  readonly port: number;
}

/** What every upstream has. */
export interface UpstreamOf<Kind extends string> {
  /** What it is. */
  readonly kind: Kind;
  /** By which rules, groups and chains speak of it. */
  readonly name: string;
}

/** What every proxy server has. */
export interface ProxyOf<Kind extends string> extends UpstreamOf<Kind> {
  /** Where it listens. */
  readonly server: ServerConfig;
  /** null: it asks for none. */
  readonly credentials: CredentialsConfig | null;
  /** Connection and handshake have to be done by then. */
  readonly timeoutMs: number;
}

/** From here. */
export interface DirectConfig extends UpstreamOf<"direct"> {
  /** Whose source address; null: as `run` says. */
  readonly source: "own" | "keep" | null;
  /** By this interface only; null: as routing has it. */
  readonly interface: string | null;
  /** Bits of the mark (SO_MARK) beside ours, for other programs' rules; 0: none. */
  readonly mark: number;
  /** Codepoint (RFC 2474) of what is sent, 0 to 63; null: unchanged. */
  readonly dscp: number | null;
}

/** A SOCKS5 server (RFC 1928). */
export interface Socks5Config extends ProxyOf<"socks5"> {
  /** Whether greeting, password and request are sent at once, without waiting for answers in between. */
  readonly pipeline: boolean;
  /** Whether it carries UDP (UDP ASSOCIATE). */
  readonly udp: boolean;
}

/** An HTTP proxy (CONNECT; RFC 9110, section 9.3.6). TCP only. */
export type HttpConfig = ProxyOf<"http">;

/** The connection as it is, with a header that says whose it is. */
export interface ProxyProtocolConfig extends UpstreamOf<"proxy-protocol"> {
  /** 1: text, TCP only; 2: binary, also in front of each datagram. */
  readonly version: 1 | 2;
  /** Who gets it; null: the destination itself. */
  readonly server: ServerConfig | null;
  /** The connection has to be there by then. */
  readonly timeoutMs: number;
}

/** Nowhere. */
export interface BlockConfig extends UpstreamOf<"block"> {
  /** An RST or for UDP port unreachable; administratively prohibited (for TCP an RST too); or silence. */
  readonly how: "reset" | "icmp" | "drop";
}

/** One through the other: the first is reached from here, the last reaches the destination. TCP only. */
export interface ChainConfig extends UpstreamOf<"chain"> {
  /** Names of upstreams, at least two: socks5 or http, the last one may also be proxy-protocol. */
  readonly hops: readonly string[];
}

/** One way for flows to leave. */
export type UpstreamConfig =
  | DirectConfig
  | Socks5Config
  | HttpConfig
  | ProxyProtocolConfig
  | BlockConfig
  | ChainConfig;

/** How it is found out whether a member of a group works, beside what flows meet with. */
export interface HealthCheckConfig {
  /** What a member is asked to open; null: only its server is connected to. */
  readonly target: ServerConfig | null;
  /** Between two checks. */
  readonly intervalMs: number;
  /** A check that is not done by then has failed. */
  readonly timeoutMs: number;
  /** So many successes in a row make a member that was down usable again. */
  readonly rise: number;
  /** So many failures in a row, of checks or of flows, make it unusable. */
  readonly fall: number;
}

/** Several upstreams by one name. */
export interface GroupConfig {
  /**
   * `failover`: the first that works; `round-robin`: each in turn; `least-latency`: the one that answers soonest, and
   * another one only when that is clearly better.
   */
  readonly kind: "failover" | "round-robin" | "least-latency";
  /** By which rules speak of it; no upstream's. */
  readonly name: string;
  /** Names of upstreams, at least one. */
  readonly members: readonly string[];
  /** null: flows alone tell. */
  readonly check: HealthCheckConfig | null;
  /** What becomes of the flows of a member that goes down. */
  readonly liveFlows: "keep" | "reset";
}

/** What holds of an upstream's `timeoutMs` where nothing is said. */
export const UPSTREAM_TIMEOUT_MS = 10_000;

/** `direct` and `block`: always there, unless others of these names are defined. */
export const BUILT_IN_UPSTREAMS: readonly UpstreamConfig[] = [
  { kind: "direct", name: "direct", source: null, interface: null, mark: 0, dscp: null },
  { kind: "block", name: "block", how: "reset" },
];
