/**
 * Who carries TCP: plain forwarding, the reference, the relays that others wrote, and Pellucid.
 *
 * @module
 */
import { type Contestant, type Probe, type RelaySite, waitUntil } from "./contestant.ts";
import { FORWARDING, pellucid, probeCompiler, versionOf, waitForReadyLine } from "./contestants.ts";
import { RELAY_PORT } from "./interception.ts";
import {
  NGINX_STREAM_MODULE,
  type PeerLimits,
  renderHaproxyConfig,
  renderNginxConfig,
} from "./peer_configs.ts";
import { isBound, readTree } from "./process_usage.ts";

/** The name of the contestant that the others are compared with. */
export const TCP_REFERENCE = "c-relay";

/** All of them, in the order of the columns. */
export const TCP_CONTESTANTS: readonly Contestant[] = [
  FORWARDING,
  {
    name: TCP_REFERENCE,
    title: "C reference",
    threads: 1,
    probe: probeCompiler,
    relay: {
      bringsRules: false,
      command: ({ native }) => Promise.resolve([native.relay, "--port", `${RELAY_PORT}`]),
      ready: waitForReadyLine,
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
      ready: (process) => waitUntil(process, (pid) => isBound(pid, "tcp", RELAY_PORT)),
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
  pellucid(1, ["--tcp", "tproxy", "--udp", "off"]),
  pellucid(2, ["--tcp", "tproxy", "--udp", "off"]),
];

function limitsOf({ idle, descriptors }: RelaySite): PeerLimits {
  return { port: RELAY_PORT, connections: idle + 200, descriptors };
}

async function probeNginx(): Promise<Probe> {
  try {
    await Deno.stat(NGINX_STREAM_MODULE);
  } catch {
    return { missing: "its stream module is not installed (Debian: nginx-light, libnginx-mod-stream)" };
  }
  return await versionOf("nginx", ["-v"], /nginx\/(\S+)/);
}
