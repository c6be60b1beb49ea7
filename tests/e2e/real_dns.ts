/**
 * Name servers: Knot DNS with a zone of the test's, asked by dig, and by dnsmasq as a resolver in the client.
 *
 * @module
 */
import { assert, assertEquals, assertMatch } from "../assert.ts";
import type { LabHost } from "../lab/mod.ts";
import { BOTH_FAMILIES, type RealProgram } from "./real_program.ts";

const ZONE = "example.test";
/** Records of the name `big`, of 250 bytes each: about 4,000 bytes in all, more than one packet holds. */
const BIG_RECORDS = 15;
const BIG_ANSWER_BYTES = 3_900;
/** Names that the resolver is asked for, each in a query with a port of its own. */
const RESOLVED_NAMES = 20;

/** Answers from a zone with small names, and with one whose answer takes more than a packet. */
export const KNOT: RealProgram = {
  name: "Knot DNS",
  needs: { knotd: "knot", dig: "dnsutils", dnsmasq: "dnsmasq-base" },
  async start(host, folder) {
    await Deno.writeTextFile(`${folder}/${ZONE}.zone`, zoneText());
    await Deno.writeTextFile(`${folder}/knot.conf`, configuration(folder));
    return host.spawn(["knotd", "-c", `${folder}/knot.conf`]);
  },
  listens: { proto: "udp", port: 53 },
  clients: [
    {
      name: "dig, UDP",
      families: BOTH_FAMILIES,
      use: async (host, address) => {
        const answer = await dig(host, address, ["host1", "A"]);
        assertMatch(answer, /^host1\.example\.test\.\s+60\s+IN\s+A\s+198\.51\.100\.1$/m);
        return answer;
      },
      flows: [{ proto: "udp", port: 53 }],
    },
    {
      name: "dig, TCP",
      families: BOTH_FAMILIES,
      use: async (host, address) => bigAnswer(await dig(host, address, ["big", "TXT", "+tcp"]), "TCP"),
      flows: [{ proto: "tcp", port: 53, bytesDown: BIG_ANSWER_BYTES }],
    },
    {
      name: "dig, an EDNS answer of 4,000 bytes in one datagram",
      families: BOTH_FAMILIES,
      // +ignore: a truncated answer must not turn into a question over TCP.
      use: async (host, address) =>
        bigAnswer(await dig(host, address, ["big", "TXT", "+bufsize=4096", "+ignore"]), "UDP"),
      flows: [{ proto: "udp", port: 53, bytesDown: BIG_ANSWER_BYTES }],
    },
    {
      name: "dig without EDNS: truncated over UDP, asked again over TCP",
      families: BOTH_FAMILIES,
      use: async (host, address) => bigAnswer(await dig(host, address, ["big", "TXT", "+noedns"]), "TCP"),
      flows: [{ proto: "udp", port: 53 }, { proto: "tcp", port: 53, bytesDown: BIG_ANSWER_BYTES }],
    },
    {
      name: `dnsmasq, a resolver that asks for ${RESOLVED_NAMES} names`,
      families: BOTH_FAMILIES,
      use: resolveAll,
      flows: [{ proto: "udp", port: 53 }],
    },
  ],
};

function zoneText(): string {
  const hosts = Array.from({ length: RESOLVED_NAMES }, (_, i) => `host${i} 60 A 198.51.100.${i}`);
  const big = Array.from(
    { length: BIG_RECORDS },
    (_, i) => `big 60 TXT "${String.fromCharCode(97 + i).repeat(250)}"`,
  );
  return [
    `$ORIGIN ${ZONE}.`,
    "@ 60 SOA ns hostmaster 1 60 60 60 60",
    "@ 60 NS ns",
    "ns 60 A 198.51.100.10",
    ...hosts,
    ...big,
    "",
  ].join("\n");
}

function configuration(folder: string): string {
  return `
server:
  rundir: ${folder}
  listen: [ 0.0.0.0@53, "::@53" ]
  udp-max-payload: 4096
  udp-workers: 1
  tcp-workers: 1
  background-workers: 1
database:
  storage: ${folder}
zone:
  - domain: ${ZONE}
    storage: ${folder}
    zonefile-load: whole
    journal-content: none
log:
  - target: stderr
    any: info
`;
}

async function dig(host: LabHost, address: string, [name, ...args]: [string, ...string[]]): Promise<string> {
  const limits = ["+tries=1", "+time=5", "+noall", "+answer", "+comments", "+stats"];
  const printed = await host.output(["dig", `@${address}`, `${name}.${ZONE}`, ...args, ...limits]);
  assertMatch(printed, /status: NOERROR/);
  // Left out: the transaction's number, and how long it took.
  // Left out: the transaction's number, how long it took, and when.
  return printed.split("\n").filter((line) => !/opcode|Query time|WHEN/.test(line)).join("\n");
}

/** @throws {Error} when it is not whole, or came another way. */
function bigAnswer(printed: string, way: "UDP" | "TCP"): string {
  assertMatch(printed, new RegExp(`^;; SERVER: .*\\(${way}\\)$`, "m"));
  const size = Number(/^;; MSG SIZE {2}rcvd: (\d+)$/m.exec(printed)?.[1]);
  assert(size >= BIG_ANSWER_BYTES, `an answer of ${size} bytes, wanted ${BIG_ANSWER_BYTES}`);
  assertEquals(printed.match(/^big\..*TXT/gm)?.length, BIG_RECORDS);
  return printed;
}

/** Runs a resolver in the client host that asks the server at `address`, and asks it for many names. */
async function resolveAll(host: LabHost, address: string): Promise<string> {
  await using resolver = host.spawn([
    // --no-daemon also means that it does not try to become another user, of which the lab has none.
    ...["dnsmasq", "--no-daemon", "--conf-file=/dev/null", "--pid-file=", "--log-facility=-"],
    ...["--no-hosts", "--no-resolv", "--cache-size=0", `--server=${address}`],
  ]);
  await resolver.stderr.waitFor((line) => line.includes("using nameserver") || undefined, 15_000);
  const names = Array.from({ length: RESOLVED_NAMES }, (_, i) => `host${i}.${ZONE}`);
  const questions = names.flatMap((name) => [name, "A", "+short", "+tries=1", "+time=5"]);
  const answers = (await host.output(["dig", "@127.0.0.1", ...questions])).trimEnd().split("\n");
  assertEquals(answers, names.map((_, i) => `198.51.100.${i}`));
  return answers.join("\n");
}
