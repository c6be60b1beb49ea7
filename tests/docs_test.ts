/**
 * The documentation against the repository: what it lists, links to and refers to is there.
 *
 * @module
 */
import { COMMANDS } from "../cli/commands.ts";
import { assert, assertEquals } from "./assert.ts";

const ROOT = new URL("..", import.meta.url);
/** Folders that are not ours to check. */
const FOREIGN: readonly string[] = [".git", ".tools", "node_modules"];

function read(path: string): string {
  return Deno.readTextFileSync(new URL(path, ROOT));
}

function* markdownFiles(folder = ""): Generator<string> {
  for (const entry of Deno.readDirSync(new URL(folder || ".", ROOT))) {
    if (entry.isDirectory && !FOREIGN.includes(entry.name)) yield* markdownFiles(`${folder}${entry.name}/`);
    else if (entry.isFile && entry.name.endsWith(".md")) yield folder + entry.name;
  }
}

/** Without what looks like a link or a heading but is code. */
function withoutCode(markdown: string): string {
  return markdown.replace(/^```[\s\S]*?^```/gm, "").replace(/`[^`\n]*`/g, "`");
}

/** Anchors of a page's headings, as GitHub makes them. */
function anchorsOf(markdown: string): string[] {
  const headings = markdown.replace(/^```[\s\S]*?^```/gm, "").matchAll(/^#+ +(.+)$/gm);
  return [...headings].map(([, text]) =>
    text!.toLowerCase().replace(/[^\p{L}\p{N} _-]/gu, "").replaceAll(" ", "-")
  );
}

function exists(url: URL): boolean {
  try {
    Deno.statSync(url);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

Deno.test("documentation: every relative link leads to a file, and to a heading where it names one", () => {
  const broken: string[] = [];
  const pages = [...markdownFiles()];
  assert(pages.includes("README.md") && pages.includes("docs/architecture.md"), pages.join());
  for (const page of pages) {
    for (const [, target] of withoutCode(read(page)).matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^[a-z]+:/.test(target!)) continue;
      const [path, anchor] = target!.split("#") as [string, string?];
      const url = new URL(path || page.split("/").at(-1)!, new URL(page, ROOT));
      const reached = exists(url) &&
        (anchor === undefined || anchorsOf(Deno.readTextFileSync(url)).includes(anchor));
      if (!reached) broken.push(`${page}: ${target}`);
    }
  }
  assertEquals(broken, []);
});

Deno.test("README: its table of flags is the one that help is made from", () => {
  const run = COMMANDS.find(({ name }) => name === "run")!;
  const wanted = Object.entries(run.flags).map(([name, flag]) => [
    // A bar would end the cell.
    `\`--${name}${flag.placeholder === "" ? "" : ` ${flag.placeholder.replaceAll("|", "\\|")}`}\``,
    flag.help,
    flag.fallbackText,
  ]);
  const rows = read("README.md").split("\n").filter((line) => line.startsWith("| `--"));
  const found = rows.map((row) => row.split(/(?<!\\)\|/).slice(1, -1).map((cell) => cell.trim()));
  assertEquals(found, wanted);
});

Deno.test("README: it names every command", () => {
  const text = read("README.md");
  for (const { name } of COMMANDS) assert(text.includes(`\`${name}\``), `\`${name}\` is not named`);
});

Deno.test("documentation: every test that is referred to exists", () => {
  const missing: string[] = [];
  let found = 0;
  for (const page of markdownFiles()) {
    const text = read(page).replace(/\s+/g, " ");
    for (const [, file, name] of text.matchAll(/`([\w/]+\.ts)`: "([^"]+)"/g)) {
      found++;
      const url = new URL(file!, ROOT);
      // A name may be put together from parts; then the reference is to one of them.
      if (!exists(url) || !Deno.readTextFileSync(url).includes(name!)) {
        missing.push(`${page}: ${file}: ${name}`);
      }
    }
  }
  assertEquals(missing, []);
  assert(found > 20, `${found} references found`);
});

Deno.test("docs/rules.md: the chains it explains are those of the goldens", () => {
  const golden = ["policy_in_order", "tproxy_from", "redirect_from", "udp_from_two_workers"].map((name) =>
    read(`tests/golden/${name}/intercept.nft`)
  ).join("");
  const rendered = golden.split("\n").map((line) =>
    // Every rule counts, which the page says once.
    line.replace(/ comment ".*"$/, "").replace(/(^|\s)counter /, "$1").trim()
  );
  const blocks = [...read("docs/rules.md").matchAll(/^```\n(chain [\s\S]*?)^```/gm)];
  const explained = blocks.flatMap(([, block]) => block!.trim().split("\n").map((line) => line.trim()));
  assert(blocks.length === 4, `${blocks.length} chains`);
  assertEquals(explained.filter((line) => !rendered.includes(line)), []);
});
