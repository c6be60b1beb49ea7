/**
 * What each intent becomes, as text to be read in review: tests/golden/CASE/ holds the intent, and next to it the plan,
 * the nft and the iptables text for intercepting and for draining, and the `ip` commands with their undoing.
 *
 * After an intended change: `UPDATE_GOLDENS=1 deno test -A nft/golden_test.ts`, then read the diff. A new case is a new
 * folder with an intent.json; only what differs from the defaults (tests/fixtures/intents.ts) is written in it.
 *
 * @module
 */
import { assert, assertEquals } from "../tests/assert.ts";
import { intentWith } from "../tests/fixtures/intents.ts";
import { buildPlan } from "./build_plan.ts";
import { checkPlan } from "./check_plan.ts";
import { FakeExec } from "./fake_exec.ts";
import { IptablesBackend } from "./iptables_backend.ts";
import { NftBackend } from "./nft_backend.ts";
import type { Plan } from "./plan.ts";
import { renderRoutes } from "./render_route.ts";

const FOLDER = new URL("../tests/golden/", import.meta.url);
const CASES = [...Deno.readDirSync(FOLDER)].filter(({ isDirectory }) => isDirectory).map(({ name }) => name)
  .sort();

function renderFiles(plan: Plan): Record<string, string> {
  const hold = plan.intent.onProxyDown === "open" ? "owner" : "plain";
  const options = {
    exec: new FakeExec(),
    tableName: plan.intent.tableName,
    hold,
    by: null,
    sysctls: [],
    afterwards: "",
  } as const;
  const nft = new NftBackend(options);
  const iptables = new IptablesBackend("iptables", { ...options, hold: "plain", ipv6: true });
  const { intent: _, ...made } = plan;
  return {
    "plan.json": `${JSON.stringify(made, undefined, 1)}\n`,
    "intercept.nft": nft.render(plan, "intercept"),
    "drain.nft": nft.render(plan, "drain"),
    "intercept.iptables": iptables.render(plan, "intercept"),
    "drain.iptables": iptables.render(plan, "drain"),
    "routes.txt": routesText(plan),
  };
}

function routesText(plan: Plan): string {
  const routes = renderRoutes(plan);
  if (routes.length === 0) return "";
  return [
    "# apply",
    ...routes.map(({ argv }) => argv.join(" ")),
    "# undo",
    ...routes.toReversed().map(({ undo }) => undo.join(" ")),
    "",
  ].join("\n");
}

for (const name of CASES) {
  Deno.test(`golden: ${name}`, async () => {
    const folder = new URL(`${name}/`, FOLDER);
    const plan = buildPlan(intentWith(JSON.parse(await Deno.readTextFile(new URL("intent.json", folder)))));
    assertEquals(checkPlan(plan), []);
    for (const [file, text] of Object.entries(renderFiles(plan))) {
      const path = new URL(file, folder);
      if (Deno.env.get("UPDATE_GOLDENS") === "1") await Deno.writeTextFile(path, text);
      assertEquals(text, await Deno.readTextFile(path), `${name}/${file}`);
    }
  });
}

Deno.test("golden: every kind of match and verdict is in some case", () => {
  const source = Deno.readTextFileSync(new URL("plan.ts", import.meta.url));
  const kinds = new Set([...source.matchAll(/readonly kind: "(\w+)"/g)].map((match) => match[1]!));
  const used = new Set<string>();
  for (const name of CASES) {
    const plan = buildPlan(
      intentWith(JSON.parse(Deno.readTextFileSync(new URL(`${name}/intent.json`, FOLDER)))),
    );
    for (const { matches, verdict } of plan.chains.flatMap(({ rules }) => rules)) {
      used.add(verdict.kind);
      matches.forEach(({ kind }) => used.add(kind));
    }
  }
  const unused = [...kinds].filter((kind) => !used.has(kind));
  assert(unused.length === 0, `no case has ${unused.join(", ")}`);
});
