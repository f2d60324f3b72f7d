/** The body of a request for each path that takes one, with a picture. */
export function exampleOf(path: string, model: string, picture: string): object | undefined {
  const text = 'What is in this image?'
  const base64 = picture.split(',')[1] ?? ''
  const [, type] = /^data:([^;,]+)/.exec(picture) ?? []
  const examples: Readonly<Record<string, object>> = {
    '/chat/completions': {
      model,
      messages: [
        {
          role: 'user',
          content: [
            { type: 'image_url', image_url: { url: picture } },
            { type: 'text', text },
          ],
        },
      ],
    },
    '/completions': { model, prompt: `<image>${text}`, images: [picture] },
    '/responses': { model, input: [{ role: 'user', content: inputs(picture, text) }] },
    '/responses/input_tokens': { model, input: [{ role: 'user', content: inputs(picture, text) }] },
    '/messages': {
      model,
      max_tokens: 100,
      messages: [
        {
          role: 'user',
          content: [
            { type: 'image', source: { type: 'base64', media_type: type, data: base64 } },
            { type: 'text', text },
          ],
        },
      ],
    },
    '/messages/count_tokens': { model, messages: [{ role: 'user', content: text }] },
    '/tokenize': { model, prompt: `<image>${text}`, images: [picture] },
    '/preview': { model, content: [{ type: 'image_url', image_url: { url: picture } }] },
    '/chat': { model, messages: [{ role: 'user', content: text, images: [base64] }] },
    '/generate': { model, prompt: text, images: [base64] },
    '/show': { model },
    '/pull': { model },
  }
  return examples[path]
}

const inputs = (picture: string, text: string) => [
  { type: 'input_image', image_url: picture },
  { type: 'input_text', text },
]

/** A red circle of 96 pixels, until a person chooses a picture. */
export const sample =
  'data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAGAAAABgBAMAAAAQtmoLAAAAMFBMVEX//////v7//f3//Pz+9vb40tLvl5fkU1PeLCzdIiLcISHcHx/cHh7bGhraFhbaEBAJxgBHAAACZ0lEQVR42u1WTUsbURR9815Gt4nkB0ywP+DJ/IERFLsMRdsKbRFK0UWhFoJuSrKxjRTSrtxE0bXDdLLOR9cl4xNXBcHKrEq00HZVU8VOOnEhmtz7Zh60uznrd+bcc+d+EZIgQYJ/DS2TSSs8HzMNQqg5EffrZvh6asoiZDyWisbJ9OLq+np5ZZYwIwaBpx5UesHxsd87WbFYtIaRWuodVe1ms7H7oVfOs6j3jC0FdktcYW/X/2TlIgwYD/9UxTXqB2+I3IYx8mNT3EDbL0iDoqlSQ9xC/XeeywRmzsUAdjaYVGBrkNA+lUhkhgWEcDcoSpgYFgglTiaxRLERQCB08RKLiT9pQYT2GWJbu1N0IMLeft5QiUiI2jJMyNw9ggneLzgm/mILIXTBxGrZdw5MELAJpl8g78XOApRYNnqOEdwC1HhpzHOY2M+QCeNxCyPAvw5NUj9NIKGEEzqTgAmj5KAeDi2AkC3iBA/4EVqqgpoWNaDrpAT3vxPAkLIV1DRcfcpp5coEWWlQcGY4asUnKW/vK0Sgo2jHfVzTVKZM2KLLUItK/pwLD3B8zHTgFZ97pJQkydhwC/AqpVnERA3bQYiJdhfbckhM7hq23MPpCkh42HroV/j8t2GCc4bvXaZvD0l4BwuSzc7nT1UE+hLvNwdS9F0mEErMXN7qCq/2Wn4xUfL84gbD2+5aPOKg1IuX1wdTw+3maeTJp78K6nYz7PxG1e88pZFHH03ri37wxbb3/aB8j8Q4K2ma3V99G/w8LD+zSKxbl3LCpufmZi3CYt7G2vhVZqgZ//zWxkwzp3KtJ0iQIBb+Am997V8N2Qx7AAAAAElFTkSuQmCC'
