// The chat format of the model (ChatML): the template that goes into the file, and the same format as tokens.

export const CHAT_TEMPLATE =
  "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}" +
  "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

/**
 * @param conversation { startToken: bool, system?: string | token ids, turns: { question, answer, learned }[] }
 * @returns            { tokens, counted }: counted[i] is 1 where tokens[i] counts in the loss, which is in the learned
 *                     answers and their end mark only
 */
export function encodeConversation(tokenizer, { startToken, system, turns }) {
  const { "<|endoftext|>": start, "<|im_start|>": open, "<|im_end|>": close } = tokenizer.special;
  const tokens = [];
  const counted = [];
  const append = (ids, weight) => {
    for (const id of ids) {
      tokens.push(id);
      counted.push(weight);
    }
  };
  const content = (text) => (typeof text === "string" ? tokenizer.encode(text) : text);
  const newline = tokenizer.encode("\n");
  const message = (role, text, weight) => {
    append([open, ...tokenizer.encode(`${role}\n`)], 0);
    append([...content(text), close], weight);
  };
  if (startToken) append([start], 0);
  if (system !== undefined) {
    message("system", system, 0);
    append(newline, 0);
  }
  turns.forEach(({ question, answer, learned }, index) => {
    if (index > 0) append(newline, 0);
    message("user", question, 0);
    append(newline, 0);
    message("assistant", answer, learned ? 1 : 0);
  });
  return { tokens, counted };
}
