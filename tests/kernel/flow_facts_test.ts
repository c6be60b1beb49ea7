/**
 * What the kernel tells of an accepted connection beside its endpoints, in the two ways of interception and for both
 * families: by which interface it came, its codepoint, and whose it is.
 *
 * @module
 */
import { parseLinks } from "../../control/host_lookups.ts";
import { assertEquals } from "../assert.ts";
import type { ToldFacts } from "../fixtures/flow_facts_main.ts";
import { GATEWAY_LAB, gatewayLab, type LabHost, type LabProcess, labTest } from "../lab/mod.ts";

const MAIN = new URL("../fixtures/flow_facts_main.ts", import.meta.url).href;
const PORT = 7000, DIALLED = 8080;
const { servers } = GATEWAY_LAB;
/** AF41 and EF, so that no answer can stand for the other. */
const FORWARDED = 34, LOCAL = 46;

const RULES = {
  tproxy: `table inet take {
    chain taking {
      meta nfproto ipv4 meta l4proto tcp tproxy ip to :${PORT}
      meta nfproto ipv6 meta l4proto tcp tproxy ip6 to :${PORT}
      meta mark set 1 accept
    }
    chain in { type filter hook prerouting priority mangle; tcp dport ${DIALLED} jump taking; }
    chain out { type route hook output priority mangle; tcp dport ${DIALLED} meta mark set 1; }
  }`,
  redirect: `table inet take {
    chain in { type nat hook prerouting priority dstnat; tcp dport ${DIALLED} redirect to :${PORT}; }
    chain out { type nat hook output priority -100; tcp dport ${DIALLED} redirect to :${PORT}; }
  }`,
};
const ROUTES = [["ip", "-4"], ["ip", "-6"]].flatMap((ip) => [
  [...ip, "rule", "add", "fwmark", "1", "lookup", "100"],
  [...ip, "route", "add", "local", "default", "dev", "lo", "table", "100"],
]);

async function mark(host: LabHost, codepoint: number): Promise<void> {
  const set = (ip: string) => `tcp dport ${DIALLED} ${ip} dscp set ${codepoint}`;
  await host.output([
    "nft",
    `table inet say { chain say { type filter hook output priority mangle - 10; ${set("ip")}; ${
      set("ip6")
    }; }; }`,
  ]);
}

async function told(process: LabProcess, destination: string): Promise<ToldFacts> {
  return await process.stdout.waitFor((line) => {
    const facts = line.startsWith("{") ? JSON.parse(line) as ToldFacts : undefined;
    return facts?.destination === destination ? facts : undefined;
  }, 5_000);
}

for (const mode of ["tproxy", "redirect"] as const) {
  labTest(
    `fact: ${mode}: an accepted socket knows by which interface it came, and its codepoint`,
    async (context) => {
      await using lab = await gatewayLab();
      const gateway = lab.host("gateway"), client = lab.host("client");
      await gateway.output(["nft", RULES[mode]]);
      for (const command of mode === "tproxy" ? ROUTES : []) await gateway.output(command);
      await mark(client, FORWARDED);
      await mark(gateway, LOCAL);
      const links = parseLinks(await gateway.output(["ip", "-o", "link"]));
      const lan0 = links.find(({ name }) => name === "lan0")!.index;
      const facts = gateway.deno(MAIN, [`${PORT}`, mode]);
      await facts.stdout.waitFor((line) => line === "listening" || undefined, 10_000);
      for (const [address, localAddress] of [[servers.v4, servers.v4b], [servers.v6, servers.v6b]] as const) {
        await context.step(`${address}, forwarded`, async () => {
          const steps = [{ do: "send", bytes: 5 }, { do: "await-end" }] as const;
          const seen = await client.connect({ address, port: DIALLED, steps });
          assertEquals(await told(facts, seen.peer!), {
            destination: seen.peer!,
            interfaceIndex: lan0,
            dscp: FORWARDED,
            uid: -1,
          });
        });
        await context.step(`${localAddress}, from this host`, async () => {
          const steps = [{ do: "send", bytes: 5 }, { do: "await-end" }] as const;
          const seen = await gateway.connect({ address: localAddress, port: DIALLED, steps });
          assertEquals(await told(facts, seen.peer!), {
            destination: seen.peer!,
            interfaceIndex: 0,
            dscp: LOCAL,
            // The lab's only user.
            uid: 0,
          });
        });
      }
    },
  );
}
