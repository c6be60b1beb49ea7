/**
 * The repository's source files and what each of them imports, from `deno info`.
 *
 * @module
 */

/** One import, export-from, dynamic import or type reference. */
export interface Import {
  /** Counted from 1. */
  readonly line: number;
  /** As written in the file. */
  readonly specifier: string;
  /** Path within the repository; undefined for a package or a `node:` module. */
  readonly path: string | undefined;
}

/** Only what is used of `deno info --json`. */
interface InfoModule {
  readonly specifier: string;
  readonly error?: string;
  readonly dependencies?: readonly {
    readonly specifier: string;
    readonly code?: InfoResolution;
    readonly type?: InfoResolution;
  }[];
}

interface InfoResolution {
  readonly specifier?: string;
  readonly error?: string;
  readonly span: { readonly start: { readonly line: number } };
}

/** Paths, relative to `root`, of all TypeScript and JavaScript files; folders that start with a dot are not entered. */
export async function listSourceFiles(root: string, folder = ""): Promise<string[]> {
  const files: string[] = [];
  for await (const entry of Deno.readDir(`${root}/${folder}`)) {
    if (entry.name.startsWith(".") || entry.name === "node_modules") continue;
    const path = `${folder}${entry.name}`;
    if (entry.isDirectory) files.push(...await listSourceFiles(root, `${path}/`));
    else if (/\.[cm]?[jt]sx?$/.test(entry.name)) files.push(path);
  }
  return files.sort();
}

/**
 * The imports of each of `files`, in one graph: a module made of nothing but imports is its root.
 * Throws when a file is missing or does not parse, since its imports are then unknown.
 */
export async function readImports(root: string, files: readonly string[]): Promise<Map<string, Import[]>> {
  const base = new URL(`file://${await Deno.realPath(root)}/`).href;
  const entry = files.map((file) => `import ${JSON.stringify(base + file)};`).join("");
  const modules = await readGraph(root, `data:application/typescript,${encodeURIComponent(entry)}`);
  const wanted = new Set(files);
  const imports = new Map<string, Import[]>();
  for (const module of modules) {
    const file = relative(base, module.specifier);
    if (file === undefined || !wanted.has(file)) continue;
    if (module.error !== undefined) throw new Error(`${file}: no module graph: ${module.error}`);
    imports.set(
      file,
      (module.dependencies ?? []).map(({ specifier, code, type }) => {
        const resolution = (code ?? type)!;
        const target = resolution.specifier;
        return {
          line: resolution.span.start.line + 1,
          specifier,
          path: target === undefined ? undefined : relative(base, target),
        };
      }),
    );
  }
  return imports;
}

async function readGraph(root: string, entry: string): Promise<readonly InfoModule[]> {
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["info", "--json", "--no-remote", entry],
    cwd: root,
    env: { NO_COLOR: "1" },
    signal: AbortSignal.timeout(60_000),
  }).output();
  if (!success) throw new Error(`deno info: ${new TextDecoder().decode(stderr).trim()}`);
  return JSON.parse(new TextDecoder().decode(stdout)).modules;
}

function relative(base: string, specifier: string): string | undefined {
  return specifier.startsWith(base) ? decodeURIComponent(specifier.slice(base.length)) : undefined;
}
