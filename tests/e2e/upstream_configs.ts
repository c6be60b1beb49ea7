/**
 * Configurations of upstreams and rules, for tests that run the proxy without a file.
 *
 * @module
 */
import { NO_RULE_FILTERS, type PolicyRuleConfig, type Socks5Config } from "../../config/mod.ts";
import { GATEWAY_LAB } from "../lab/mod.ts";

/** So long a server may take. */
export const SERVER_TIMEOUT_MS = 2000;

/** A SOCKS5 server of the internet host, for TCP alone. */
export function socks5(name: string, port: number, change: Partial<Socks5Config> = {}): Socks5Config {
  return {
    kind: "socks5",
    name,
    server: { host: GATEWAY_LAB.servers.v4b, port },
    credentials: null,
    pipeline: true,
    udp: false,
    timeoutMs: SERVER_TIMEOUT_MS,
    ...change,
  };
}

/** A rule about flows that these filters name. */
export function rule(filters: Partial<PolicyRuleConfig>, to: string): PolicyRuleConfig {
  return { ...NO_RULE_FILTERS, ...filters, to };
}
