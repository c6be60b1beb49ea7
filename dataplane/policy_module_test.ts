import { assertEquals, assertRejects } from "../tests/assert.ts";
import { importPolicy, importPolicySoon, PolicyModuleError } from "./policy_module.ts";

/** Modules in a folder of their own. */
async function withModules(texts: Readonly<Record<string, string>>, use: (folder: string) => Promise<void>) {
  const folder = await Deno.makeTempDir({ prefix: "pellucid-policy-" });
  try {
    for (const [name, text] of Object.entries(texts)) await Deno.writeTextFile(`${folder}/${name}`, text);
    await use(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

const MODULES = {
  "good.ts": "export default (flow: { port: number }): string => flow.port === 25 ? 'block' : 'direct';",
  "syntax.ts": 'export default () => {\n  return "direct" "block";\n};',
  "throws.ts": 'const port = 25;\nthrow new RangeError("at its top");\nexport default () => "direct";',
  "lost.ts": 'import { list } from "./list.ts";\nexport default () => list;',
  "none.ts": "export const decide = () => 'direct';",
  "object.ts": "export default { decide: () => 'direct' };",
  "async.ts": "export default async () => 'direct';",
};

const FAULTS: Readonly<Record<string, string>> = {
  "syntax.ts": `:2:19: SyntaxError: Expected ';', got 'string literal ("block", "block")'`,
  "throws.ts": ":2:7: RangeError: at its top",
  "lost.ts": ':1:22: Module not found "file://FOLDER/list.ts".',
  "none.ts": ": no default export",
  "object.ts": ": a default export that is an object",
  "async.ts": ": an async function",
  "missing.ts": ': Module not found "file://FOLDER/missing.ts".',
};

Deno.test("policy module: its default export, typed or not", async () => {
  await withModules(MODULES, async (folder) => {
    const policy = await importPolicy(`file://${folder}/good.ts?pellucid=0a`) as unknown as (
      flow: { port: number },
    ) => string;
    assertEquals([policy({ port: 25 }), policy({ port: 80 })], ["block", "direct"]);
  });
});

Deno.test("policy module: what is wrong with one is told in a line, with file and place", async () => {
  await withModules(MODULES, async (folder) => {
    for (const [name, fault] of Object.entries(FAULTS)) {
      const url = `file://${folder}/${name}?pellucid=00ff`;
      const error = await assertRejects(() => importPolicy(url), PolicyModuleError);
      assertEquals(error.message, `${folder}/${name}${fault.replace("FOLDER", folder)}`);
    }
  });
});

Deno.test("policy module: another text in the same place is another module", async () => {
  await withModules({ "policy.ts": "export default () => 'one';" }, async (folder) => {
    const path = `${folder}/policy.ts`;
    const answer = async (version: string) =>
      (await importPolicy(`file://${path}?pellucid=${version}`))(undefined!);
    assertEquals(await answer("1"), "one");
    await Deno.writeTextFile(path, "export default () => 'two';");
    assertEquals(await answer("1"), "one");
    assertEquals(await answer("2"), "two");
  });
});

Deno.test("policy module: a thread with connections does not wait for a top that takes long", async () => {
  const text = "await new Promise((done) => setTimeout(done, 200));\nexport default () => 'direct';";
  await withModules({ "slow.ts": text }, async (folder) => {
    const url = `file://${folder}/slow.ts?pellucid=0a`;
    const error = await assertRejects(() => importPolicySoon(url, 50), PolicyModuleError);
    assertEquals(error.message, `${folder}/slow.ts: its top has not come to an end after 0.05 s`);
    assertEquals(typeof await importPolicySoon(url), "function");
  });
});
