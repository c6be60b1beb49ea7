/**
 * dnsmasq as a resolver that says who it is, and dig to ask.
 *
 * @module
 */
import type { LabHost, LabProcess } from "../lab/mod.ts";
import { missingPrograms } from "./real_program.ts";

/** For tests with both: the words behind their names, and when to pass them over. */
export function withResolvers(): { readonly remark: string; readonly ignore: boolean } {
  const missing = missingPrograms({ dig: "dnsutils", dnsmasq: "dnsmasq-base" });
  return {
    remark: missing.length === 0 ? "" : ` (missing here: ${missing.join(", ")})`,
    ignore: missing.length > 0,
  };
}

/** How a resolver is. */
export interface ResolverSpec {
  /** The address that it gives of who.example.test. */
  readonly me: string;
  /** Default 53. */
  readonly port?: number;
  /** Default: every one that the host has. */
  readonly addresses?: readonly string[];
  /** More flags of dnsmasq. */
  readonly flags?: readonly string[];
}

/** Resolves when it answers. */
export async function serveNames(host: LabHost, spec: ResolverSpec): Promise<LabProcess> {
  const { me, port = 53, addresses = [], flags = [] } = spec;
  const process = host.spawn([
    ...["dnsmasq", "--no-daemon", "--conf-file=/dev/null", "--pid-file=", "--log-facility=-"],
    ...["--no-hosts", "--no-resolv", "--cache-size=0", `--port=${port}`, `--address=/who.example.test/${me}`],
    ...(addresses.length === 0 ? [] : [`--listen-address=${addresses.join()}`, "--bind-interfaces"]),
    ...flags,
  ]);
  await process.stderr.waitFor((line) => line.includes("started, version") || undefined, 15_000);
  return process;
}

/** What dig prints. It takes no answer that comes from elsewhere than where it has asked. */
export async function dig(host: LabHost, asked: string, ...args: string[]): Promise<string> {
  return await host.output(["dig", `@${asked}`, ...args, "+tries=1", "+time=8"]);
}

/** Who answers a program of `host` that asks `asked`. */
export async function whoAnswers(host: LabHost, asked: string, ...args: string[]): Promise<string> {
  return (await dig(host, asked, "who.example.test", "A", "+short", ...args)).trim();
}
