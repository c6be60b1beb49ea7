/**
 * What a switch from one plan to the next does to packets and sets, and sets of 20,000 prefixes, on a real kernel.
 *
 * @module
 */
import type { Exec } from "../../nft/exec.ts";
import type { AddressSet, Plan } from "../../nft/plan.ts";
import { RuleApplyError } from "../../nft/rule_apply_error.ts";
import { assert, assertEquals, assertRejects } from "../assert.ts";
import { intentWith } from "../fixtures/intents.ts";
import { GATEWAY_LAB, gatewayLab, type LabHost, labTest } from "../lab/mod.ts";
import { HOLDS, nftBackend } from "./nft_backend_lab.ts";
import { labExec } from "./nft_lab.ts";

const SWAPS = 100;
const PASSED_PORT = 9001, DROPPED_PORT = 9002;

/** Counts what arrives, before anything else looks at it. */
const ARRIVALS = `table inet arrivals {
  chain in {
    type filter hook prerouting priority -400; policy accept;
    udp dport ${PASSED_PORT} counter comment "passed"
    udp dport ${DROPPED_PORT} counter comment "dropped"
  }
}\n`;

function addressSet(name: string, prefixes: readonly string[]): AddressSet {
  return { name, family: 4, prefixes, why: "Addresses." };
}

/** Drops what goes to one port of the addresses in set `dropped`; the addresses in set `kept` have a rule before. */
function droppingPlan(dropped: AddressSet, kept: AddressSet): Plan {
  return {
    intent: intentWith({ from: ["lan0"] }),
    chains: [{
      name: "dropping",
      type: "filter",
      hook: "prerouting",
      priority: "mangle",
      interfaces: ["lan0"],
      why: "Forwarded traffic.",
      rules: [
        {
          id: "kept",
          during: "always",
          matches: [{ kind: "addressSet", side: "destination", set: kept.name }],
          verdict: { kind: "pass" },
          why: "the same in all plans",
        },
        {
          id: "port",
          during: "always",
          matches: [
            {
              kind: "ports",
              protocol: "udp",
              side: "destination",
              ports: [{ first: DROPPED_PORT, last: DROPPED_PORT }],
            },
            { kind: "addressSet", side: "destination", set: dropped.name },
          ],
          verdict: { kind: "drop" },
          why: "to be lost",
        },
      ],
    }],
    sets: [kept, dropped],
    ipRules: [],
    routes: [],
    sysctls: [],
  };
}

async function arrivals(exec: Exec): Promise<{ passed: number; dropped: number }> {
  const { stdout } = await exec.run(["nft", "list", "table", "inet", "arrivals"]);
  const count = (comment: string) =>
    Number(new RegExp(`packets (\\d+) bytes \\d+ comment "${comment}"`).exec(stdout)?.[1]);
  return { passed: count("passed"), dropped: count("dropped") };
}

/** The kernel's numbers for the table's sets. */
async function setHandles(exec: Exec): Promise<Map<string, string>> {
  const { stdout } = await exec.run(["nft", "-a", "-t", "list", "ruleset", "inet"]);
  return new Map(
    [...stdout.matchAll(/\tset (\S+) \{ # handle (\d+)/g)].map(([, name, handle]) => [name!, handle!]),
  );
}

/** Sends to both ports while `work` goes on. @returns how many to each. */
async function sendingDuring(client: LabHost, work: () => Promise<void>): Promise<number> {
  const main = new URL("udp_sender_main.ts", import.meta.url).pathname;
  const to = GATEWAY_LAB.servers.v4;
  const sender = client.deno(main, [`${to} ${PASSED_PORT}`, `${to} ${DROPPED_PORT}`]);
  await sender.stdout.waitFor((line) => line === "sending" || undefined, 15_000);
  await work();
  await sender.closeStdin();
  return await sender.stdout.waitFor((line) => Number(/^sent (\d+)$/.exec(line)?.[1]) || undefined, 15_000);
}

for (const hold of HOLDS) {
  labTest(
    `nft backend, ${hold}: ${SWAPS} switches under traffic lose no packet and let none by`,
    async () => {
      await using lab = await gatewayLab();
      const exec = labExec(lab.host("gateway")), internet = labExec(lab.host("internet"));
      assertEquals((await internet.run(["nft", "-f", "-"], { stdin: ARRIVALS })).code, 0);
      const kept = addressSet("kept_4", ["203.0.113.0/25", "203.0.113.200/32"]);
      const server = `${GATEWAY_LAB.servers.v4}/32`;
      const plans = [
        droppingPlan(addressSet("first_4", ["192.0.2.128/25", server]), kept),
        droppingPlan(addressSet("second_4", [server]), kept),
      ];
      const backend = nftBackend(exec, hold);
      await backend.claim();
      await backend.load(plans[1]!, "intercept");
      const handle = (await setHandles(exec)).get("kept_4");
      const sent = await sendingDuring(lab.host("client"), async () => {
        for (let i = 0; i < SWAPS; i++) await backend.load(plans[i % 2]!, "intercept");
      });
      assert(sent > 5 * SWAPS, `${sent} sent`);
      assertEquals(await arrivals(internet), { passed: sent, dropped: 0 });
      const handles = await setHandles(exec);
      assertEquals([...handles.keys()].toSorted(), ["kept_4", "second_4"]);
      assertEquals(handles.get("kept_4"), handle);
      assertEquals(await backend.differences(plans[1]!, "intercept"), []);
      await backend.remove();
      await backend.close();
    },
    { timeoutMs: 120_000 },
  );

  labTest(`nft backend, ${hold}: counters tell what each rule has met since it was loaded`, async () => {
    await using lab = await gatewayLab();
    const exec = labExec(lab.host("gateway"));
    const plan = droppingPlan(
      addressSet("dropped_4", ["192.0.2.128/25", `${GATEWAY_LAB.servers.v4}/32`]),
      addressSet("kept_4", ["203.0.113.0/24"]),
    );
    const backend = nftBackend(exec, hold);
    await backend.load(plan, "intercept");
    const sent = await sendingDuring(lab.host("client"), () => Promise.resolve());
    // 20 bytes of IPv4, 8 of UDP, one of payload.
    assertEquals(await backend.counters(plan), [
      { chain: "dropping", rule: "kept", packets: 0, bytes: 0 },
      { chain: "dropping", rule: "port", packets: sent, bytes: 29 * sent },
    ]);
    await backend.load(plan, "intercept");
    assertEquals((await backend.counters(plan)).map(({ packets }) => packets), [0, 0]);
    const other = droppingPlan(addressSet("other_4", ["198.51.100.0/24"]), plan.sets[1]!);
    const renamed = { ...other, chains: other.chains.map((chain) => ({ ...chain, name: "another" })) };
    await assertRejects(() => backend.counters(renamed), RuleApplyError, "is missing");
    await backend.remove();
    await backend.close();
  });

  labTest(
    `nft backend, ${hold}: 20,000 prefixes load, are read back, and are replaced by others`,
    async () => {
      await using lab = await gatewayLab();
      const exec = labExec(lab.host("gateway"));
      const kept = addressSet("kept_4", manyPrefixes(1, 1_000));
      const plans = [
        droppingPlan(addressSet("first_4", manyPrefixes(10, 20_000)), kept),
        droppingPlan(addressSet("second_4", manyPrefixes(11, 20_000)), kept),
      ];
      const backend = nftBackend(exec, hold);
      await backend.claim();
      for (const plan of plans) {
        await backend.load(plan, "intercept");
        // A fresh process reads the elements as well, where somebody else could have changed them.
        assertEquals(await nftBackend(exec, hold).differences(plan, "intercept"), []);
      }
      const { stdout } = await exec.run(["nft", "list", "set", "inet", "pellucid", "second_4"], {
        timeoutMs: 60_000,
      });
      assertEquals(stdout.match(/\d\/24/g)?.length, 20_000);
      assertEquals([...(await setHandles(exec)).keys()].toSorted(), ["kept_4", "second_4"]);
      await backend.remove();
      await backend.close();
    },
    { timeoutMs: 240_000 },
  );
}

/** From `first`.0.1.0 on two of every four /24: neighbours, but no prefix holds both. */
function manyPrefixes(first: number, count: number): string[] {
  return Array.from({ length: count }, (_, i) => {
    const number = (first << 16) + 4 * (i >> 1) + 1 + i % 2;
    return `${number >>> 16}.${(number >>> 8) & 0xff}.${number & 0xff}.0/24`;
  });
}
