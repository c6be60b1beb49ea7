/**
 * Reads what `ip -j` prints.
 *
 * @module
 */
import { type ApplyStage, RuleApplyError } from "./rule_apply_error.ts";

/**
 * The objects in the list that `command` has printed; nothing stands for none.
 *
 * @throws {RuleApplyError} of that stage when it is no JSON: `ip` prints the control characters that an interface's
 * name may have as they are.
 */
export function parseIpJson(command: string, text: string, stage: ApplyStage): Record<string, unknown>[] {
  if (text.trim() === "") return [];
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    const cause = "is there an interface whose name has a control character?";
    throw new RuleApplyError(stage, command, `no JSON (${error.message}): ${cause}`);
  }
  return Array.isArray(value) ? value.filter((item) => typeof item === "object" && item !== null) : [];
}
