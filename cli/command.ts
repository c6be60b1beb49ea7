/**
 * What a command is: one entry of the table from which parsing and help are made.
 *
 * @module
 */
import { ConfigError, type ConfigIssue } from "../config/mod.ts";
import { type FlagSet, type FlagValues, toggle } from "./flag.ts";
import { type Configured, readConfigured } from "./configured.ts";
import { type ParsedFlags, parseFlags } from "./parse_flags.ts";
import { type UpstreamValues, warnAboutUpstream } from "./upstream_flags.ts";

/** The name shown, however the program was started. */
export const PROGRAM = "pellucid";

/** Exit codes of every command. */
export const EXIT = { ok: 0, failure: 1, usage: 2 } as const;
/** Exit code of a command. */
export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

/** Every command has it. */
const HELP_FLAG = { help: toggle("show this help (also -h)") };

/** How a command is written down. */
export interface CommandSpec<F extends FlagSet> {
  /** One or two words: `run`, `rules render`. */
  readonly name: string;
  /** Half a sentence for the list of commands. */
  readonly summary: string;
  /** Paragraphs for the command's own help. */
  readonly about: readonly string[];
  /** Name in the help of the arguments that are no flags, where it takes such. */
  readonly operands?: string;
  readonly flags: F;
  /** Arguments and what they are for. */
  readonly examples: readonly (readonly [args: string, purpose: string])[];
  /** What is wrong with values that could all be read, and with the arguments that are no flags. */
  readonly check?: (values: FlagValues<F>, operands: readonly string[]) => readonly ConfigIssue[];
  /** Brings in the code, which only the command that is run pays for. */
  readonly load: () => Promise<
    (values: FlagValues<F>, operands: readonly string[], reread: Reread<F>) => Promise<ExitCode>
  >;
}

/**
 * Reads arguments and configuration file once more.
 *
 * @throws {ConfigError} when anything is wrong with them by now.
 */
export type Reread<F extends FlagSet> = () => Promise<{
  readonly values: FlagValues<F>;
  /** Tells what is found later in the words of the file. */
  readonly inItsWords: Configured<F>["inItsWords"];
}>;

/** A command whose arguments have been read. */
export interface Invocation {
  readonly wantsHelp: boolean;
  /** How failures are shown, as far as the arguments say. */
  readonly log: { readonly json: boolean; readonly debug: boolean };
  /** Empty, or the invocation must not be run. */
  readonly issues: readonly ConfigIssue[];
  /** What is not wrong and should be known. */
  readonly warnings: readonly string[];
  run(): Promise<ExitCode>;
}

/** An entry of the table: the spec without the types of its flags. */
export interface Command extends Omit<CommandSpec<FlagSet>, "check" | "load"> {
  /**
   * Reads the arguments, and the configuration file that they name.
   *
   * @throws {ConfigError} when there is no such file.
   */
  invoke(args: readonly string[]): Promise<Invocation>;
}

/** Makes an entry of the table. */
export function command<F extends FlagSet>(spec: CommandSpec<F>): Command {
  const flags = { ...spec.flags, ...HELP_FLAG };
  const { name, summary, about, examples } = spec;
  const read = async (parsed: ParsedFlags<FlagSet>) => {
    const configured = await readConfigured(flags, parsed);
    // The set was built from F, so what was read from it has F's types.
    const values = configured.values as FlagValues<F>;
    const found = spec.check?.(values, parsed.operands) ?? [];
    const issues = [
      ...configured.issues,
      ...(spec.operands === undefined ? parsed.operands.map(surplus) : []),
      ...configured.inItsWords(found),
    ];
    return { configured, values, issues };
  };
  return {
    name,
    summary,
    about,
    examples,
    ...(spec.operands === undefined ? {} : { operands: spec.operands }),
    flags,
    invoke: async (args) => {
      const parsed = parseFlags<FlagSet>(flags, args);
      const log = logOf(parsed.values);
      if (parsed.values.help === true) {
        return { wantsHelp: true, log, issues: [], warnings: [], run: notToBeRun };
      }
      const { configured, values, issues } = await read(parsed);
      const reread: Reread<F> = async () => {
        const again = await read(parsed);
        if (again.issues.length > 0) throw new ConfigError(again.issues);
        return { values: again.values, inItsWords: again.configured.inItsWords };
      };
      return {
        wantsHelp: false,
        log: logOf(configured.values),
        issues,
        warnings: [...configured.warnings, ...warnAboutUpstream(configured.values as UpstreamValues)],
        run: async () => {
          try {
            return await (await spec.load())(values, parsed.operands, reread);
          } catch (error) {
            // What only the host can tell, such as a list that is not there, is told by its key too.
            if (!(error instanceof ConfigError)) throw error;
            throw new ConfigError(configured.inItsWords(error.issues));
          }
        },
      };
    },
  };
}

/** How failures are shown, as far as flags and file say. */
function logOf(values: FlagValues<FlagSet>): Invocation["log"] {
  return { json: values.log === "json", debug: values["log-level"] === "debug" };
}

function notToBeRun(): never {
  throw new Error("help was asked for");
}

function surplus(operand: string): ConfigIssue {
  return { path: "arguments", found: JSON.stringify(operand), wanted: "flags only" };
}
