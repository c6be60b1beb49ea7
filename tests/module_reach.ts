/**
 * Which modules are loaded with a module, before anything that it imports when it needs it.
 *
 * @module
 */

/** Only what is used of `deno info --json`. */
interface Info {
  readonly redirects?: Readonly<Record<string, string>>;
  readonly modules: readonly {
    readonly specifier: string;
    readonly dependencies?: readonly {
      readonly isDynamic?: boolean;
      readonly code?: { readonly specifier?: string };
    }[];
  }[];
}

/** Specifiers of what `entry` statically imports, and what that imports, and so on. */
export async function staticReach(entry: URL): Promise<Set<string>> {
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["info", "--json", entry.href],
    stdout: "piped",
    stderr: "piped",
  }).output();
  if (!success) throw new Error(new TextDecoder().decode(stderr));
  const info: Info = JSON.parse(new TextDecoder().decode(stdout));
  const modules = new Map(info.modules.map((module) => [module.specifier, module]));
  const reached = new Set<string>();
  const left = [entry.href];
  for (let specifier = left.pop(); specifier !== undefined; specifier = left.pop()) {
    const target = info.redirects?.[specifier] ?? specifier;
    if (reached.has(target)) continue;
    reached.add(target);
    for (const { isDynamic, code } of modules.get(target)?.dependencies ?? []) {
      if (isDynamic !== true && code?.specifier !== undefined) left.push(code.specifier);
    }
  }
  return reached;
}
