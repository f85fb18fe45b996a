// The chat format of the model (ChatML): the template that goes into the file, and the same format as tokens.

export const CHAT_TEMPLATE =
  "{% for message in messages %}" +
  "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}" +
  "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

/**
 * @param conversation { startToken: bool, system?, turns: { question, answer, weights?, cut? }[] }; a text is a string
 *                     or a list of token ids; `weights` says how much the first tokens of the answer count in the loss
 *                     (the rest counts 1; without `weights` nothing does), and `cut` ends it after so many tokens
 * @returns            { tokens, weights }: weights[i] is what predicting tokens[i] counts
 */
export function encodeConversation(tokenizer, { startToken, system, turns }) {
  const { "<|endoftext|>": start, "<|im_start|>": open, "<|im_end|>": close } = tokenizer.special;
  const tokens = [];
  const weights = [];
  const append = (ids, weightAt = () => 0) => {
    ids.forEach((id, index) => {
      tokens.push(id);
      weights.push(weightAt(index));
    });
  };
  const content = (text) => (typeof text === "string" ? tokenizer.encode(text) : text);
  const newline = tokenizer.encode("\n");
  const openMessage = (role) => append([open, ...tokenizer.encode(`${role}\n`)]);
  const message = (role, text) => {
    openMessage(role);
    append([...content(text), close, ...newline]);
  };
  if (startToken) append([start]);
  if (system !== undefined) message("system", system);
  turns.forEach(({ question, answer, weights: first, cut }, index) => {
    if (index > 0) append(newline);
    message("user", question);
    openMessage("assistant");
    append([...content(answer), close].slice(0, cut), first && ((place) => first[place] ?? 1));
  });
  return { tokens, weights };
}
