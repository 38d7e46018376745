# Reads a cask as Homebrew does, with the words of its language that ours uses, and prints JSON.
# Any other word ends with an error, as it would there.
require "json"

class Cask
  attr_reader :said

  def initialize
    @said = {}
  end

  %i[version sha256 url name desc homepage app strategy].each do |word|
    define_method(word) do |value = nil|
      return @said[word] if value.nil?

      @said[word] = value
    end
  end

  %i[depends_on uninstall zap].each do |word|
    define_method(word) { |**values| @said[word] = (@said[word] || {}).merge(values) }
  end

  def livecheck(&block)
    check = Cask.new
    check.instance_eval(&block)
    @said[:livecheck] = check.said
  end
end

def cask(token, &block)
  made = Cask.new
  made.instance_eval(&block)
  puts JSON.generate({ token: token }.merge(made.said))
end

load ARGV.fetch(0)
