# %% [markdown]
# # Glossary
#
# The words and letters of the course, each with the lesson that explains it.
# The same letters stand in the library and in the exercises. [The map of the course](map.ipynb) shows how the parts fit together.
#
# ## Letters
#
# | in code | meaning | lesson |
# | --- | --- | --- |
# | `x0` | a clean picture, or the guess at it | [03](03_learning_to_denoise.ipynb) |
# | `xt`, `xs`, `xT` | the picture under noise at time `t`; at the next time `s < t`; the start of a walk, all noise | [02](02_adding_noise.ipynb) |
# | `eps` | the noise inside `xt`, with mean 0 and variance 1 | [02](02_adding_noise.ipynb) |
# | `t`, `s`, `ts`, `t_max` | a time; the next one of a walk; all times of a walk, falling; the time where only noise is left | [02](02_adding_noise.ipynb) |
# | `alpha`, `sigma` | how much picture and how much noise: `xt = alpha x0 + sigma eps` | [02](02_adding_noise.ipynb) |
# | `logsnr` | the logarithm of `(alpha / sigma)^2`, the signal-to-noise ratio | [02](02_adding_noise.ipynb) |
# | `level` | how noisy, from 0 to 1, the same under every process: the angle of `alpha` and `sigma` | [02](02_adding_noise.ipynb) |
# | `v`, `u` | two mixtures of `x0` and `eps` that a network can learn: `alpha eps - sigma x0`, and the slope `dxt/dt` | [03](03_learning_to_denoise.ipynb), [05](05_faster_samplers.ipynb) |
# | `sigma_data` | the standard deviation of the data, by which a network is fed and asked in unit size | [12](12_colour_photos.ipynb) |
# | `target` | which of `x0`, `eps`, `v` and `u` a network is trained to answer with | [03](03_learning_to_denoise.ipynb) |
# | `eta` | how much fresh noise a move adds: 0 is DDIM, 1 is DDPM | [04](04_sampling_step_by_step.ipynb) |
# | `nfe` | number of function evaluations: how often a walk asks the network | [05](05_faster_samplers.ipynb) |
# | `ctx`, `null` | the vectors of the prompt; those of the empty or of the negative prompt | [06](06_words_to_vectors.ipynb) |
# | `cfg_scale` | the guidance scale: 1 is no guidance, more follows the prompt more closely | [07](07_text_to_image.ipynb) |
# | `interval` | the range of levels in which guidance is on | [07](07_text_to_image.ipynb) |
# | `known`, `mask` | the given pixels of a picture that is to be completed; where they are | [10](10_editing.ipynb) |
# | `strength` | how much of a given picture is turned to noise before it is drawn anew, from 0 to 1 | [10](10_editing.ipynb) |
#
# ## Words
#
# | word | meaning | lesson |
# | --- | --- | --- |
# | **adherence** | The share of pictures that show what their prompt asked for, as a judge sees it. | [08](08_prompting.ipynb) |
# | **attention** | Each element asks all others, weighs them by how well they fit, and takes the weighted mean of what they say. | [06](06_words_to_vectors.ipynb) |
# | **attribute** | One thing that can be said of a painted digit: digit, ink, paper, stroke, lean, size or place. | [08](08_prompting.ipynb) |
# | **augmentation** | Changing training pictures by chance in ways that leave what they show, such as a mirror. | [12](12_colour_photos.ipynb) |
# | **autoencoder** | Two networks: one turns a picture into a short code, the other turns it back. Nothing orders the codes. | [09](09_latent_space.ipynb) |
# | **averaged weights (EMA)** | A running mean of the weights during training. It draws better than the last weights do. | [03](03_learning_to_denoise.ipynb) |
# | **batch** | The examples that one training step looks at together. | [01](01_pixels_and_networks.ipynb) |
# | **caption** | The words that belong to a training picture. | [07](07_text_to_image.ipynb) |
# | **caption dropout** | Training without the caption now and then, so that the network also learns to draw without words. | [07](07_text_to_image.ipynb) |
# | **channel** | One number per pixel. A grey picture has one channel, a coloured one three, a layer as many as it likes. | [01](01_pixels_and_networks.ipynb) |
# | **classifier-free guidance** | Ask the network with the prompt and without it, and go further in the direction of the difference. | [07](07_text_to_image.ipynb) |
# | **clock** | What a process calls time. The same walk can be timed by another process's clock. | [05](05_faster_samplers.ipynb) |
# | **convolution** | A small table of weights that slides over a picture. It finds the same shape anywhere. | [01](01_pixels_and_networks.ipynb) |
# | **Cosine** | The process of this course's models: `alpha` and `sigma` are a cosine and a sine. | [02](02_adding_noise.ipynb) |
# | **cross-attention** | Attention from the places of the picture to the words of the prompt. | [07](07_text_to_image.ipynb) |
# | **DDIM** | A move without fresh noise. The walk is then decided by its start. | [04](04_sampling_step_by_step.ipynb) |
# | **DDPM** | A process and its sampler: many small steps, each with fresh noise. | [04](04_sampling_step_by_step.ipynb) |
# | **denoiser** | A function that is shown a picture under noise and guesses the picture. | [03](03_learning_to_denoise.ipynb) |
# | **DPM-Solver++(2M)** | A sampler that also uses its last guess. The library's choice for few steps. | [05](05_faster_samplers.ipynb) |
# | **EDM** | A process in which `alpha` is 1 and the time is `sigma` itself. | [02](02_adding_noise.ipynb) |
# | **ELBO** | A number that the log-likelihood of a picture is never below. Training a VAE raises it. | [09](09_latent_space.ipynb) |
# | **embedding** | A vector that stands for a word, a place or a noise level. It is learned. | [06](06_words_to_vectors.ipynb) |
# | **Euler, Heun** | Samplers that follow the slope: one asks once a step, the other twice and takes the mean. | [05](05_faster_samplers.ipynb) |
# | **feature** | A number that a layer computes from the picture: how strongly something is there. | [01](01_pixels_and_networks.ipynb) |
# | **floor** | The distance that real pictures have from other real pictures. No generator should be expected below it. | [11](11_judging_images.ipynb) |
# | **Flow** | A process whose way from picture to noise is a straight line. | [02](02_adding_noise.ipynb) |
# | **Frechet distance** | How far two clouds of features are apart, as if both were Gaussian. With Inception features it is called FID. | [11](11_judging_images.ipynb) |
# | **gradient** | For each weight, how the loss would change if the weight grew a little. | [01](01_pixels_and_networks.ipynb) |
# | **guidance** | Whatever changes the guess while walking. | [07](07_text_to_image.ipynb) |
# | **head** | One of several attentions side by side, each on its share of the features. | [06](06_words_to_vectors.ipynb) |
# | **held-out** | Put aside: examples on which a network is tested and never trained. | [01](01_pixels_and_networks.ipynb) |
# | **img2img** | Begin the walk at a given picture under some noise, in place of pure noise. | [10](10_editing.ipynb) |
# | **inpainting, outpainting** | Draw the missing part of a picture, inside it or around it. The given part stays as it is. | [10](10_editing.ipynb) |
# | **judge** | A program that measures from the pixels what a painted digit shows. | [08](08_prompting.ipynb) |
# | **kernel distance (KID)** | How far two clouds of features are apart, pair by pair, with no bias from small samples. | [11](11_judging_images.ipynb) |
# | **KL divergence** | How much one distribution differs from another. It keeps the latents of a VAE near a Gaussian. | [09](09_latent_space.ipynb) |
# | **latent** | The short code of a picture that a VAE makes. | [09](09_latent_space.ipynb) |
# | **learning rate** | How far a training step moves the weights. | [01](01_pixels_and_networks.ipynb) |
# | **logit** | A network's score for an answer. Softmax turns scores into shares. | [01](01_pixels_and_networks.ipynb) |
# | **loss** | One number that says how wrong the network is. Training lowers it. | [01](01_pixels_and_networks.ipynb) |
# | **mode** | A place where many pictures of the data lie. A generator that leaves modes out has low recall. | [11](11_judging_images.ipynb) |
# | **move** | The step of a walk from `xt` to `xs`, given a guess. | [04](04_sampling_step_by_step.ipynb) |
# | **negative prompt** | Words that the picture should move away from. They take the place of the empty prompt in guidance. | [08](08_prompting.ipynb) |
# | **optimizer** | The rule that turns gradients into new weights. Here it is Muon, with AdamW for what is no matrix. | [03](03_learning_to_denoise.ipynb) |
# | **order** | How fast the error of a sampler falls with its steps: halving the step divides it by two to the power of the order. | [05](05_faster_samplers.ipynb) |
# | **painted digits** | Real handwriting in coloured ink on coloured paper, with true captions: the data of this course. | [07](07_text_to_image.ipynb) |
# | **parameter, weight** | A number inside a network that training sets. | [01](01_pixels_and_networks.ipynb) |
# | **peak** | The largest value of a feature among all words: how a block of the U-Net hears the prompt. | [07](07_text_to_image.ipynb) |
# | **posterior** | Where `xs` was, if both `x0` and `xt` are known. | [04](04_sampling_step_by_step.ipynb) |
# | **precision, recall** | The share of drawn pictures that lie among real ones; the share of real ones that lie among drawn ones. | [11](11_judging_images.ipynb) |
# | **preconditioning** | Scaling what a network is shown and what it is asked for, so that both have unit size. | [12](12_colour_photos.ipynb) |
# | **process** | A way from data to noise: the two curves `alpha` and `sigma` over time. | [02](02_adding_noise.ipynb) |
# | **prompt** | The words that say what to draw. | [00](00_start_here.ipynb) |
# | **PSNR** | How near two pictures are, in decibels. Higher is nearer. | [09](09_latent_space.ipynb) |
# | **residual block** | Layers whose answer is added to what came in, so that they only have to learn a change. | [03](03_learning_to_denoise.ipynb) |
# | **sampler** | The walk from noise to a picture. It has no weights. | [04](04_sampling_step_by_step.ipynb) |
# | **schedule** | Which noise levels come when, in training or on a walk. | [02](02_adding_noise.ipynb) |
# | **score** | The gradient of the logarithm of a density: it points to where the data are denser. | [07](07_text_to_image.ipynb) |
# | **seed** | A number that fixes the noise. The same seed and prompt give the same picture. | [00](00_start_here.ipynb) |
# | **self-attention** | Attention among the elements of one thing: words to words, or places to places. | [06](06_words_to_vectors.ipynb) |
# | **shift and scale** | What brings the latents of a VAE to mean 0 and variance 1. The VAE keeps them. | [09](09_latent_space.ipynb) |
# | **softmax** | Turns scores into shares that add up to one. | [01](01_pixels_and_networks.ipynb) |
# | **step** | In training: one correction of the weights. In sampling: one move of the walk. | [00](00_start_here.ipynb) |
# | **text encoder** | The network that turns the words of a prompt into vectors that know of each other. | [06](06_words_to_vectors.ipynb) |
# | **token, tokenizer** | A word's number; what turns a text into such numbers. | [06](06_words_to_vectors.ipynb) |
# | **transformer** | A network of attention and small layers in turns. | [06](06_words_to_vectors.ipynb) |
# | **U-Net** | A network that looks at a picture at several sizes and answers at full size. | [03](03_learning_to_denoise.ipynb) |
# | **VAE** | An autoencoder whose codes lie near a Gaussian, so that a code by chance has a meaning. | [09](09_latent_space.ipynb) |
# | **variations** | Pictures near a given one: its noise, turned a little towards other noise. | [10](10_editing.ipynb) |
# | **walk** | All steps from noise to a picture. | [04](04_sampling_step_by_step.ipynb) |
# | **weight of a word** | How much a word counts, written `(bold:1.5)`: its vector goes further from the empty prompt, or less far. | [08](08_prompting.ipynb) |
