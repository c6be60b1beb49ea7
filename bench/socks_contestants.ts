/**
 * Who is compared when upstreams and policies are: Pellucid in all the ways that cost may differ, redsocks, and what
 * Pellucid's direct mode itself is compared with.
 *
 * The SOCKS5 server is the load's own (native/load_socks.c), since with any other the relay of the server would limit
 * what is measured, not the one in front of it. Dante takes part when it is asked for, to show just that.
 *
 * @module
 */
import { SERVER_ADDRESS } from "./bench_lab.ts";
import { type Contestant, type Limits, type Probe, type RelaySite, waitUntil } from "./contestant.ts";
import { beside, FORWARDING, pellucid, probeCompiler, versionOf, waitForReadyLine } from "./contestants.ts";
import { RELAY_PORT } from "./interception.ts";
import { FORWARDING_NAME } from "./measure.ts";
import { isBound } from "./process_usage.ts";
import { renderRedsocksConfig } from "./peer_configs.ts";
import type { InternetHost } from "./running_contestant.ts";
import type { Section } from "./suite.ts";

/** The name of the contestant that the others are compared with. */
export const SOCKS_REFERENCE = "direct";
/** The one that the targets for upstreams are about. */
export const SOCKS_JUDGED = "socks";

/** As native/load_socks.c has them. */
const SERVER = `${SERVER_ADDRESS}:1080`;
const DANTE_PORT = 1081;
const DANTE = `${SERVER_ADDRESS}:${DANTE_PORT}`;
const USERNAME = "bench";
const PASSWORD = "mark";

/**
 * Sessions that a relay may have: fewer than there are client ports in `sessions`, and with two descriptors for each
 * few enough for an ordinary limit of 20,000.
 */
const SESSION_LIMIT = 6_000;
/** A frame takes ten bytes of the largest datagram. */
const FRAMED: Limits = { largestDatagram: 65_507 - 10, sessions: SESSION_LIMIT, fullCone: true };

const REFERENCE_UDP = ["--port", `${RELAY_PORT}`, "--sessions", `${SESSION_LIMIT}`];
// deno-fmt-ignore
const TCP_AND_UDP = [
  "--tcp", "tproxy", "--udp", "tproxy",
  "--max-sessions", `${SESSION_LIMIT}`, "--max-sessions-per-client", `${SESSION_LIMIT}`,
];
const TCP_ALONE = ["--tcp", "tproxy", "--udp", "off"];

/** A list of rules that are about others than those who are measured. */
const MANY_RULES = 1_000;
const MANY_PREFIXES = 100_000;

/**
 * A gateway that keeps track of connections, as any does that has a firewall with state or NAT, and as ours has to
 * when it intercepts UDP: what that costs is not the cost of our rules.
 */
export const TRACKED = "tracked";
const TRACKING = `table inet bench_tracking {
  chain forward { type filter hook forward priority filter; ct state established,related accept; }
}`;

/** All of them, in the order of the columns. */
export const SOCKS_CONTESTANTS: readonly Contestant[] = [
  FORWARDING,
  {
    name: "c-relay",
    title: "C reference, direct",
    threads: 1,
    probe: probeCompiler,
    relay: {
      bringsRules: false,
      command: ({ native }) =>
        Promise.resolve(
          beside([native.relay, "--port", `${RELAY_PORT}`], [native.udp_relay, ...REFERENCE_UDP]),
        ),
      ready: waitForReadyLine,
    },
  },
  pellucidWith(SOCKS_REFERENCE, "Pellucid, direct", TCP_AND_UDP),
  {
    ...pellucidWith(SOCKS_JUDGED, "Pellucid, SOCKS5", [...TCP_AND_UDP, "--upstream", `socks5://${SERVER}`]),
    framesDatagrams: true,
    limits: FRAMED,
  },
  {
    ...pellucidWith(
      "login",
      "Pellucid, SOCKS5 with password",
      [...TCP_AND_UDP, "--upstream", `socks5://${USERNAME}@${SERVER}`],
      async ({ directory }) => {
        await Deno.writeTextFile(`${directory}/password`, PASSWORD);
        return ["--upstream-password-file", `${directory}/password`];
      },
    ),
    framesDatagrams: true,
    limits: FRAMED,
  },
  {
    name: "redsocks",
    title: "redsocks",
    threads: 1,
    probe: () => versionOf("redsocks", ["-v"], /redsocks\/(\S+)/),
    relay: {
      bringsRules: false,
      // It knows no other way.
      intercepts: { tcp: "redirect", udp: "off" },
      command: async ({ directory, idle }) => {
        const file = `${directory}/redsocks.conf`;
        const limits = { port: RELAY_PORT, connections: idle };
        await Deno.writeTextFile(file, renderRedsocksConfig(limits, SERVER_ADDRESS));
        return ["redsocks", "-c", file];
      },
      ready: (process) => waitUntil(process, (pid) => isBound(pid, "tcp", RELAY_PORT)),
    },
  },
  {
    ...pellucidWith("dante", "Pellucid, SOCKS5 by Dante", [...TCP_ALONE, "--upstream", `socks5://${DANTE}`]),
    onlyByName: true,
    servers: [startDante],
    probe: () => versionOf("danted", ["-v"], /Dante v([\d.]+\d)/),
  },
  pellucidWith("rules-1k", "Pellucid, 1,000 rules", TCP_ALONE, (site) => writeRules(site, MANY_RULES)),
  pellucidWith(
    "rules-100k",
    "Pellucid, 100,000 prefixes in 1,000 rules",
    TCP_ALONE,
    (site) => writeRules(site, MANY_PREFIXES),
  ),
  {
    ...pellucidWith("module", "Pellucid, empty policy module", TCP_ALONE, async ({ directory }) => {
      await Deno.writeTextFile(`${directory}/policy.ts`, "export default () => undefined;\n");
      return ["--policy", `${directory}/policy.ts`];
    }),
    probe: probeModules,
  },
  {
    ...FORWARDING,
    name: TRACKED,
    title: "plain forwarding, tracked",
    gatewayRules: TRACKING,
  },
  {
    ...pellucidWith("pushed", "Pellucid, pushed down, TCP alone", TCP_ALONE, writePushedDown),
    forwards: "all",
  },
  {
    ...pellucidWith("pushed-udp", "Pellucid, pushed down", TCP_AND_UDP, writePushedDown),
    forwards: "all",
  },
];

const OF_TCP = ["bulk8", "up8", "connect", "ping1", "trips"];
const OF_UDP = ["up1x512", "down1x512", "up1000x512", "sessions"];

/** The tables. */
export const SOCKS_SECTIONS: readonly Section[] = [
  {
    title: "TCP through a SOCKS5 server",
    contestants: [FORWARDING_NAME, "c-relay", SOCKS_REFERENCE, SOCKS_JUDGED, "login", "redsocks", "dante"],
    measures: OF_TCP,
    reference: SOCKS_REFERENCE,
  },
  {
    title: "UDP through a SOCKS5 server",
    contestants: [FORWARDING_NAME, "c-relay", SOCKS_REFERENCE, SOCKS_JUDGED, "login"],
    measures: OF_UDP,
    reference: SOCKS_REFERENCE,
  },
  {
    title: "What a policy costs",
    contestants: [SOCKS_REFERENCE, "rules-1k", "rules-100k", "module"],
    measures: ["connect"],
    reference: SOCKS_REFERENCE,
  },
  {
    title: "Pushed down to the kernel: TCP is intercepted",
    contestants: [FORWARDING_NAME, "pushed"],
    measures: ["bulk8", "up8", "connect"],
    reference: FORWARDING_NAME,
  },
  {
    title: "Pushed down to the kernel: TCP and UDP are intercepted",
    contestants: [FORWARDING_NAME, TRACKED, "pushed-udp"],
    measures: ["connect", "up1x512"],
    reference: TRACKED,
  },
];

/** @param more flags that need files */
function pellucidWith(
  name: string,
  title: string,
  flags: readonly string[],
  more: (site: RelaySite) => Promise<readonly string[]> = () => Promise.resolve([]),
): Contestant {
  const plain = pellucid(1, flags);
  const relay = plain.relay!;
  return {
    ...plain,
    name,
    title,
    relay: { ...relay, command: async (site) => [...await relay.command(site), ...await more(site)] },
  };
}

/**
 * Rules of which none is about the server; neighbours lead elsewhere, so that they cannot become one. What a rule has
 * more than one prefix of comes from a list file: a configuration may have 1 MiB.
 */
async function writeRules({ directory }: RelaySite, prefixes: number): Promise<string[]> {
  const each = prefixes / MANY_RULES;
  const lines = [
    'policy = { default = "direct", push-down = false }',
    `upstream.office = { kind = "socks5", server = "${SERVER}" }`,
  ];
  for (let rule = 0; rule < MANY_RULES; rule++) {
    const list = Array.from({ length: each }, (_, nth) => foreignPrefix(nth * MANY_RULES + rule));
    if (each > 1) await Deno.writeTextFile(`${directory}/list-${rule}`, list.join("\n") + "\n");
    const which = each > 1 ? `destination-file = "list-${rule}"` : `destination = "${list[0]}"`;
    lines.push("[[rule]]", which, `use = "${rule % 2 === 0 ? "office" : "block"}"`);
  }
  return await writeConfig(directory, lines);
}

/** All that is sent to the server passes by; the rest would go to nobody. */
function writePushedDown({ directory }: RelaySite): Promise<string[]> {
  return writeConfig(directory, [
    'policy = { default = "block" }',
    "[[rule]]",
    `destination = "${SERVER_ADDRESS}/24"`,
    'use = "direct"',
  ]);
}

async function writeConfig(directory: string, lines: readonly string[]): Promise<string[]> {
  const file = `${directory}/pellucid.toml`;
  await Deno.writeTextFile(file, lines.join("\n") + "\n");
  return ["--config", file];
}

/** A /24 that nobody here is in: from 1.0.0.0 on, with gaps, as the networks of a country lie. */
function foreignPrefix(nth: number): string {
  const block = 0x01_0000 + 71 * nth;
  return `${block >> 16}.${block >> 8 & 0xff}.${block & 0xff}.0/24`;
}

async function probeModules(): Promise<Probe> {
  const help = await versionOf(
    Deno.execPath(),
    ["run", "-A", "--cached-only", new URL("../mod.ts", import.meta.url).pathname, "run", "--help"],
    /(--policy)/,
  );
  if ("missing" in help || help.version === "--policy") return pellucid(1, []).probe();
  return { missing: "this version has no policy modules" };
}

/** Resolves when it listens. Its one user is the one that the lab has. */
async function startDante({ directory, spawn }: InternetHost): Promise<void> {
  const file = `${directory}/danted.conf`;
  await Deno.writeTextFile(
    file,
    `logoutput: stderr
internal: ${SERVER_ADDRESS} port = ${DANTE_PORT}
external: ${SERVER_ADDRESS}
clientmethod: none
socksmethod: none
user.privileged: root
user.unprivileged: root
client pass { from: 0/0 to: 0/0 }
socks pass { from: 0/0 to: 0/0 command: connect }
`,
  );
  const server = spawn(["danted", "-f", file, "-p", `${directory}/danted.pid`]);
  await waitUntil(server, (pid) => isBound(pid, "tcp", DANTE_PORT));
}
