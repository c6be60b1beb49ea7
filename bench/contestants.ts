/**
 * The contestants: plain forwarding, the reference, the relays that others wrote, and Pellucid.
 *
 * @module
 */
import { type LabProcess, within } from "../tests/lab/mod.ts";
import type { Contestant, Probe, RelaySite } from "./contestant.ts";
import { RELAY_PORT } from "./interception.ts";
import {
  NGINX_STREAM_MODULE,
  type PeerLimits,
  renderHaproxyConfig,
  renderNginxConfig,
} from "./peer_configs.ts";
import { isListening, readTree } from "./process_usage.ts";
import { LAN_INTERFACE } from "./tcp_lab.ts";

/** The name of the contestant that the others are compared with. */
export const REFERENCE = "c-relay";

const READY_TIMEOUT_MS = 20_000;
const PELLUCID = new URL("../mod.ts", import.meta.url).pathname;

/** All of them, in the order of the columns. */
export const CONTESTANTS: readonly Contestant[] = [
  {
    name: "forwarding",
    title: "plain forwarding",
    threads: 0,
    probe: () => Promise.resolve({ version: `Linux ${Deno.osRelease()}` }),
    relay: undefined,
  },
  {
    name: REFERENCE,
    title: "C reference",
    threads: 1,
    probe: () => versionOf("cc", ["--version"], /^(.*)$/m),
    relay: {
      bringsRules: false,
      command: ({ native }) => Promise.resolve([native.relay, "--port", `${RELAY_PORT}`]),
      ready: async (process) => {
        await process.stdout.waitFor((line) => line === "ready" || undefined, READY_TIMEOUT_MS);
      },
    },
  },
  {
    name: "haproxy",
    title: "HAProxy",
    threads: 1,
    probe: () => versionOf("haproxy", ["-v"], /version (\S+)/),
    relay: {
      bringsRules: false,
      command: async (site) => {
        const file = `${site.directory}/haproxy.cfg`;
        await Deno.writeTextFile(file, renderHaproxyConfig(limitsOf(site)));
        return ["haproxy", "-db", "-f", file];
      },
      ready: (process) => waitUntil(process, (pid) => isListening(pid, RELAY_PORT)),
    },
  },
  {
    name: "nginx",
    title: "nginx stream",
    threads: 1,
    probe: probeNginx,
    relay: {
      bringsRules: false,
      command: async (site) => {
        const file = `${site.directory}/nginx.conf`;
        await Deno.writeTextFile(file, renderNginxConfig(limitsOf(site), site.directory));
        return [site.native.listen_transparent, `${RELAY_PORT}`, "nginx", "-e", "stderr", "-c", file];
      },
      // The listener is there before nginx is; the worker comes last.
      ready: (process) => waitUntil(process, async (pid) => (await readTree(pid)).length > 1),
    },
  },
  pellucid(1),
  pellucid(2),
];

function pellucid(workers: number): Contestant {
  return {
    name: `pellucid-${workers}`,
    title: `Pellucid, ${workers} worker${workers === 1 ? "" : "s"}`,
    threads: workers,
    probe: probePellucid,
    relay: {
      bringsRules: true,
      command: () =>
        // deno-fmt-ignore
        Promise.resolve([
          Deno.execPath(), "run", "-A", "--cached-only", PELLUCID, "run",
          "--tcp", "tproxy", "--from", LAN_INTERFACE, "--port", `${RELAY_PORT}`,
          "--workers", `${workers}`, "--rules", "nft", "--log", "json",
        ]),
      ready: async (process) => {
        await process.stderr.waitFor((line) => isReadyEvent(line) || undefined, READY_TIMEOUT_MS);
      },
    },
  };
}

function isReadyEvent(line: string): boolean {
  return line.startsWith("{") && JSON.parse(line).event === "ready";
}

function limitsOf({ connections, descriptors }: RelaySite): PeerLimits {
  return { port: RELAY_PORT, connections: connections + 200, descriptors };
}

async function waitUntil(process: LabProcess, condition: (pid: number) => Promise<boolean>): Promise<void> {
  const pid = await process.outsidePid();
  const deadline = performance.now() + READY_TIMEOUT_MS;
  while (performance.now() < deadline) {
    if (!process.running) throw new Error(`ended instead of getting ready:\n${process.stderr.tail()}`);
    if (await condition(pid).catch(() => false)) return;
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  throw new Error(`not ready within ${READY_TIMEOUT_MS} ms:\n${process.stderr.tail()}`);
}

async function probeNginx(): Promise<Probe> {
  try {
    await Deno.stat(NGINX_STREAM_MODULE);
  } catch {
    return { missing: "its stream module is not installed (Debian: nginx-light, libnginx-mod-stream)" };
  }
  return await versionOf("nginx", ["-v"], /nginx\/(\S+)/);
}

async function probePellucid(): Promise<Probe> {
  try {
    await Deno.stat(PELLUCID);
  } catch {
    return { missing: `there is no ${PELLUCID}` };
  }
  return { version: `Deno ${Deno.version.deno}` };
}

/** Looks where ordinary users' PATH does not, as the lab does. */
async function versionOf(program: string, args: string[], pattern: RegExp): Promise<Probe> {
  try {
    const env = { PATH: `${Deno.env.get("PATH") ?? ""}:/usr/sbin:/sbin` };
    const command = new Deno.Command("env", { args: [program, ...args], env, stdin: "null" });
    const { success, stdout, stderr } = await within(command.output(), 5_000, `${program} ${args.join(" ")}`);
    const printed = new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
    if (!success) return { missing: `${program} is not installed` };
    return { version: pattern.exec(printed)?.[1] ?? printed.trim() };
  } catch (error) {
    return { missing: error instanceof Error ? error.message : `${error}` };
  }
}
