// Types for what we use of @std/cli/parse-args: the npm package that carries it ships none.
export interface ParseOptions {
  boolean?: readonly string[];
  string?: readonly string[];
  collect?: readonly string[];
  alias?: Readonly<Record<string, string>>;
  /** Called for each argument that no option names; returning false leaves it out of the result. */
  unknown?: (arg: string, key?: string, value?: unknown) => unknown;
}
export function parseArgs(args: readonly string[], options: ParseOptions): Record<string, unknown>;
