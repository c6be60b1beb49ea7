/**
 * What each intent becomes, as text to be read in review: tests/golden/CASE/ holds the intent, and next to it the nft
 * text for intercepting and for draining, and the `ip` commands with their undoing.
 *
 * After an intended change: `UPDATE_GOLDENS=1 deno test -A nft/golden_test.ts`, then read the diff. A new case is a new
 * folder with an intent.json; only what differs from the defaults below is written in it.
 *
 * @module
 */
import {
  buildPlan,
  checkPlan,
  DEFAULT_KERNEL_NUMBERS,
  type InterceptIntent,
  renderNft,
  renderRoutes,
} from "./mod.ts";
import { assertEquals } from "../tests/assert.ts";

const DEFAULTS: InterceptIntent = {
  tcp: "tproxy",
  udp: "off",
  udpPorts: [],
  udpWorkers: 1,
  from: [],
  local: false,
  port: 7870,
  source: "own",
  otherInterfaces: [],
  ...DEFAULT_KERNEL_NUMBERS,
};

const FOLDER = new URL("../tests/golden/", import.meta.url);

function renderFiles(intent: InterceptIntent): Record<string, string> {
  const plan = buildPlan(intent);
  assertEquals(checkPlan(plan), []);
  const routes = renderRoutes(plan);
  const lines = [
    "# apply",
    ...routes.map(({ argv }) => argv.join(" ")),
    "# undo",
    ...routes.toReversed().map(({ undo }) => undo.join(" ")),
    "",
  ];
  return {
    "intercept.nft": renderNft(plan, "intercept", "owner"),
    "drain.nft": renderNft(plan, "drain", "owner"),
    "routes.txt": routes.length === 0 ? "" : lines.join("\n"),
  };
}

for (
  const { name, isDirectory } of [...Deno.readDirSync(FOLDER)].sort((a, b) => a.name.localeCompare(b.name))
) {
  if (!isDirectory) continue;
  Deno.test(`golden: ${name}`, async () => {
    const folder = new URL(`${name}/`, FOLDER);
    const changes: Partial<InterceptIntent> = JSON.parse(
      await Deno.readTextFile(new URL("intent.json", folder)),
    );
    for (const [file, text] of Object.entries(renderFiles({ ...DEFAULTS, ...changes }))) {
      const path = new URL(file, folder);
      if (Deno.env.get("UPDATE_GOLDENS") === "1") await Deno.writeTextFile(path, text);
      assertEquals(text, await Deno.readTextFile(path), `${name}/${file}`);
    }
  });
}
