/**
 * Which key of the file says what which flag says. One table, so that a flag can override the file, and a check that
 * names a flag can be told in the words of the file.
 *
 * @module
 */
import type { ConfigFile } from "./schema.ts";

/** By the flag's name without its dashes. `local` and `sidecar` are both `mode`. */
export const SETTING_KEYS = {
  port: "port",
  workers: "workers",
  source: "source",
  "drain-timeout": "drain-timeout",
  from: "intercept.from",
  "exclude-from": "intercept.exclude-from",
  "include-cidr": "intercept.include-cidr",
  "exclude-cidr": "intercept.exclude-cidr",
  "include-cidr-file": "intercept.include-cidr-file",
  "exclude-cidr-file": "intercept.exclude-cidr-file",
  "include-source": "intercept.include-source",
  "exclude-source": "intercept.exclude-source",
  "include-source-file": "intercept.include-source-file",
  "exclude-source-file": "intercept.exclude-source-file",
  "tcp-ports": "intercept.tcp-ports",
  "exclude-tcp-ports": "intercept.exclude-tcp-ports",
  "udp-ports": "intercept.udp-ports",
  "exclude-udp-ports": "intercept.exclude-udp-ports",
  to: "intercept.to",
  "exclude-to": "intercept.exclude-to",
  "include-mac": "intercept.include-mac",
  "exclude-mac": "intercept.exclude-mac",
  "include-uid": "intercept.include-uid",
  "exclude-uid": "intercept.exclude-uid",
  "include-gid": "intercept.include-gid",
  "exclude-gid": "intercept.exclude-gid",
  "include-cgroup": "intercept.include-cgroup",
  "exclude-cgroup": "intercept.exclude-cgroup",
  "include-mark": "intercept.include-mark",
  "exclude-mark": "intercept.exclude-mark",
  inbound: "sidecar.inbound",
  "inbound-port": "sidecar.inbound-port",
  "inbound-ports": "sidecar.inbound-ports",
  "exclude-inbound-ports": "sidecar.exclude-inbound-ports",
  "outbound-ports": "sidecar.outbound-ports",
  "proxy-uid": "sidecar.proxy-uid",
  "proxy-gid": "sidecar.proxy-gid",
  "exclude-interface": "sidecar.exclude-interface",
  "virtual-interface": "sidecar.virtual-interface",
  "capture-dns": "sidecar.capture-dns",
  "dns-server": "sidecar.dns-server",
  "dns-port": "sidecar.dns-port",
  "drop-invalid": "sidecar.drop-invalid",
  tcp: "tcp.mode",
  "connect-timeout": "tcp.connect-timeout",
  "idle-timeout": "tcp.idle-timeout",
  "half-closed-timeout": "tcp.half-closed-timeout",
  keepalive: "tcp.keepalive",
  "user-timeout": "tcp.user-timeout",
  udp: "udp.mode",
  "udp-filter": "udp.filter",
  "udp-timeout": "udp.timeout",
  "udp-refresh-inbound": "udp.refresh-inbound",
  dns: "dns.resolvers",
  "max-connections": "limits.max-connections",
  "max-connections-per-client": "limits.max-connections-per-client",
  "max-sessions": "limits.max-sessions",
  "max-sessions-per-client": "limits.max-sessions-per-client",
  rules: "rules.tool",
  "on-proxy-down": "rules.on-proxy-down",
  log: "log.format",
  "log-level": "log.level",
  flows: "log.flows",
} as const;

/** What a key takes. */
type Value<Table, Key extends string> = Key extends `${infer First}.${infer Rest}`
  ? First extends keyof Table ? Value<NonNullable<Table[First]>, Rest> : never
  : Key extends keyof Table ? NonNullable<Table[Key]>
  : never;

/** What a file says that flags say too, by the flags' names; what it does not say is not there. */
export type FileSettings =
  & { readonly [Name in keyof typeof SETTING_KEYS]?: Value<ConfigFile, (typeof SETTING_KEYS)[Name]> }
  & { readonly local?: boolean; readonly sidecar?: boolean };

/** The key that says what `flag` (without dashes) says; undefined: none does. */
export function keyOfFlag(flag: string): string | undefined {
  if (flag === "local" || flag === "sidecar") return "mode";
  if (flag === "upstream") return "policy.default";
  if (flag === "policy") return "policy.module";
  return Object.hasOwn(SETTING_KEYS, flag) ? SETTING_KEYS[flag as keyof typeof SETTING_KEYS] : undefined;
}

/** What `file` says. */
export function settingsOf(file: ConfigFile): FileSettings {
  const settings: Record<string, unknown> = {};
  for (const [flag, key] of Object.entries(SETTING_KEYS)) {
    let value: unknown = file;
    for (const part of key.split(".")) value = (value as Record<string, unknown> | undefined)?.[part];
    if (value !== undefined) settings[flag] = value;
  }
  const { mode } = file;
  if (mode === "host" || mode === "gateway-and-host") settings.local = true;
  if (mode === "sidecar") settings.sidecar = true;
  // Each value was read by the schema under the key that the type names.
  return settings as FileSettings;
}
